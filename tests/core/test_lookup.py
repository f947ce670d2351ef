from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter

from stripe_cache import Settings
from stripe_cache.core import drive, metrics
from stripe_cache.core.answer import Response
from stripe_cache.core.directives import NONE, parse
from stripe_cache.core.plan import Plan, Request
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from stripe_cache.core.answer import Answer
    from stripe_cache.core.engine import Engine


class Process:
    """An engine over two shared tiers that outlive it, and an origin that counts its calls."""

    def __init__(
        self, tiers: dict[str, FaultyTier], clock: FakeClock, meter: RecordingMeter, **options: object
    ) -> None:
        guarded = tuple(GuardedTier(tier, 60.0, clock, meter) for tier in tiers.values())
        settings = replace(Settings(namespace="acct_1", events=True), **options)  # type: ignore[arg-type]
        self.engine: Engine = build(settings, clock=clock, meter=meter, shared=guarded)
        self.body = {"id": "cus_1", "object": "customer", "name": "old"}
        self.calls = 0

    def origin(self, _occasion: drive.Occasion = None) -> Response:
        self.calls += 1
        return Response(200, {"Request-Id": "req_1", "Set-Cookie": "secret"}, json.dumps(self.body).encode())

    def plan(self, path: str = "/v1/customers/cus_1") -> Plan:
        plan = self.engine.planner.plan(Request("get", f"https://api.stripe.com{path}", "sk_test_a", "", "", ""))
        assert isinstance(plan, Plan)
        return plan

    def read(self, path: str = "/v1/customers/cus_1", wishes: str = "") -> Answer:
        return drive.run(self.engine.reads, self.plan(path), parse(wishes) if wishes else NONE, self.origin)


@pytest.fixture
def tiers(clock: FakeClock) -> dict[str, FaultyTier]:
    made = {}
    for name in ("redis", "dynamodb"):
        memory = MemoryTier(10_000_000, clock)
        memory.name = name
        made[name] = FaultyTier(memory)
    return made


@pytest.fixture
def process(tiers: dict[str, FaultyTier], clock: FakeClock, meter: RecordingMeter) -> Process:
    return Process(tiers, clock, meter)


def test_an_answer_goes_into_every_tier_and_a_hit_below_fills_the_tiers_above(
    process: Process, tiers: dict[str, FaultyTier], clock: FakeClock, meter: RecordingMeter
) -> None:
    process.read()
    assert [meter.counts[metrics.FILL, tier] for tier in ("memory", "redis", "dynamodb")] == [1, 1, 1]
    tiers["redis"].tier.clear()  # type: ignore[attr-defined]
    other = Process(tiers, clock, meter)
    assert [other.read().status.tier for _ in range(2)] == ["dynamodb", "memory"]
    assert Process(tiers, clock, meter).read().status.tier == "redis"
    assert other.calls == 0


def test_only_the_few_headers_that_support_needs_are_kept(
    process: Process, tiers: dict[str, FaultyTier], clock: FakeClock, meter: RecordingMeter
) -> None:
    process.read()
    assert dict(Process(tiers, clock, meter).read().headers) == {"request-id": "req_1"}


def test_a_dead_value_of_a_lower_tier_never_climbs(process: Process, tiers: dict[str, FaultyTier]) -> None:
    """Reader: nothing in Redis, the old value in DynamoDB. Changer: voids both. Reader: fills Redis with it."""
    process.read()
    tiers["redis"].tier.clear()  # type: ignore[attr-defined]
    reader = Process(tiers, process.engine.clock, RecordingMeter())  # type: ignore[arg-type]
    tiers["dynamodb"].after["read"] = lambda: process.engine.invalidate(["cus_1"])
    reader.read()
    process.body["name"] = reader.body["name"] = "new"
    late = Process(tiers, process.engine.clock, RecordingMeter())  # type: ignore[arg-type]
    late.body["name"] = "new"
    assert late.read().data["name"] == "new"


def test_an_invalidation_by_another_thread_refuses_memorys_copy(process: Process, tiers: dict[str, FaultyTier]) -> None:
    """The value was read from Redis before the invalidation and would enter memory after it."""
    process.read()
    reader = Process(tiers, process.engine.clock, RecordingMeter())  # type: ignore[arg-type]
    tiers["redis"].after["read"] = lambda: reader.engine.invalidate(["cus_1"])
    reader.read()
    reader.body["name"] = "new"
    assert reader.read().data["name"] == "new"


def test_memory_lags_behind_another_process_by_max_lag_at_most(
    process: Process, tiers: dict[str, FaultyTier], clock: FakeClock, meter: RecordingMeter
) -> None:
    process.read()
    clock.advance(5)
    process.read()
    Process(tiers, clock, meter).engine.invalidate(["cus_1"])
    process.body["name"] = "new"
    clock.advance(0.5)
    assert process.read().data["name"] == "old", "within the lag it may"
    clock.advance(0.5)
    assert process.read().data["name"] == "new"


def test_the_start_of_an_invocation_makes_memory_ask(
    process: Process, tiers: dict[str, FaultyTier], clock: FakeClock, meter: RecordingMeter
) -> None:
    process.read()
    Process(tiers, clock, meter).engine.invalidate(["cus_1"])
    process.body["name"] = "new"
    process.engine.near.forget()
    assert process.read().data["name"] == "new"


def test_an_entry_past_its_end_is_not_served_although_the_store_still_has_it(
    process: Process, tiers: dict[str, FaultyTier], clock: FakeClock
) -> None:
    plan = process.plan()
    process.read()
    clock.wall += plan.lifetimes.fresh + plan.lifetimes.stale + 1
    assert tiers["dynamodb"].tier.read(plan.key.namespace, [_slot(plan)])[0].stored is not None
    assert process.read(wishes="max-stale").status.fwd == "uri-miss"
    assert process.calls == 2


def test_a_stale_entry_is_served_on_request_and_else_asked_for_anew(process: Process, clock: FakeClock) -> None:
    plan = process.plan()
    process.read()
    clock.advance(plan.lifetimes.fresh + 10)
    assert process.read(wishes="max-stale").status.stale
    assert process.read().status.fwd == "stale"


def test_only_dead_tiers_make_a_read_as_slow_as_the_origin_and_never_fail_it(
    process: Process, tiers: dict[str, FaultyTier]
) -> None:
    for tier in tiers.values():
        tier.kill()
    assert [process.read().data["name"] for _ in range(5)] == ["old"] * 5
    # Nothing that a shared tier could not vouch for went into memory.
    assert process.calls == 5
    assert len(tiers["redis"].calls) <= 3


@pytest.mark.parametrize("step", ["touch", "store", "settle"])
def test_a_tier_that_fails_in_mid_fill_is_left_out(
    process: Process, tiers: dict[str, FaultyTier], clock: FakeClock, meter: RecordingMeter, step: str
) -> None:
    process.body["subscription"] = {"id": "sub_1", "object": "subscription"}  # type: ignore[assignment]
    tiers["redis"].failing[step] = RuntimeError("half-way")
    assert process.read().data["name"] == "old"
    tiers["redis"].revive()
    clock.advance(60)
    assert Process(tiers, clock, meter).read().status.tier == "dynamodb"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"id": "cus_1", "object": "customer", "client_secret": "pi_1_secret_abcdef"}', "a secret"),
        (b"not json", "no JSON"),
        (b"[" * 100_000, "JSON too deep"),
        (b'{"id": "cus_1", "x": "%s"}' % (b"y" * 2_000_000), "too large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_must_not_be_stored_is_served_all_the_same(
    process: Process, meter: RecordingMeter, body: bytes, reason: str
) -> None:
    for _ in range(2):
        answer = drive.run(process.engine.reads, process.plan(), NONE, lambda _: Response(200, {}, body))
        assert (answer.body, answer.status.stored) == (body, False), reason
    assert meter.total(metrics.FILL_SKIPPED) == 2


def test_reading_many_is_one_round_trip_per_tier(process: Process, tiers: dict[str, FaultyTier]) -> None:
    plans = [process.plan(f"/v1/customers/cus_{number}") for number in range(20)]
    results = process.engine.reads.look(plans, NONE)
    assert len(results) == 20
    assert [tiers[name].calls for name in tiers] == [["read", "touch"]] * 2


def _slot(plan: Plan) -> object:
    from stripe_cache.core.ports import Slot

    return Slot(plan.key.record, plan.key)
