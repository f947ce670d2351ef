"""Where the stale answer comes from while Stripe fails: from any tier that has one which still stands."""

from __future__ import annotations

import json

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter

from stripe_cache import Settings
from stripe_cache.core import drive, protocol
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.directives import NONE, parse
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.steps import Followed, Ticket
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.wiring import build

URL = "https://api.stripe.com/v1/prices/price_1?expand[]=product"
POLICY = {name: {"ttl": 2, "stale_window": 300} for name in ("price", "product")}
BODY = {"id": "price_1", "object": "price", "product": {"id": "prod_1", "object": "product", "name": "old"}}


def tier_called(name: str, clock: FakeClock) -> FaultyTier:
    memory = MemoryTier(1_000_000, clock)
    memory.name = name
    return FaultyTier(memory)


class Reader:
    """Reads one price with its product through the given tiers; Stripe answers while it is `well`."""

    def __init__(self, clock: FakeClock, *tiers: FaultyTier) -> None:
        settings = Settings(namespace="acct_1", memory_max_bytes=0, policy=POLICY)
        self.engine = build(settings, clock=clock, meter=RecordingMeter(), shared=tiers)
        self.well = True

    def plan(self) -> Plan:
        found = self.engine.planner.plan(Request("get", URL, "sk_test_a", "", "", ""))
        assert isinstance(found, Plan)
        return found

    def read(self, wishes: str = "") -> Answer:
        said = Response(200, {}, json.dumps(BODY).encode()) if self.well else Response(500, {}, b"{}")
        return drive.run(self.engine.reads, self.plan(), parse(wishes) if wishes else NONE, lambda _: said)


def test_redis_alone_keeps_the_stale_window_and_the_records_it_depends_on(clock: FakeClock) -> None:
    reader = Reader(clock, tier_called("redis", clock))
    reader.read()
    reader.well = False
    clock.advance(200)
    assert reader.read().status.detail == "redis; stale-if-error"
    clock.advance(200)
    assert reader.read().http_status == 500


@pytest.mark.parametrize("forgetful", [0, 1])
def test_a_tier_that_lost_its_entry_while_stripe_failed_is_stood_in_for(clock: FakeClock, forgetful: int) -> None:
    tiers = tier_called("redis", clock), tier_called("dynamodb", clock)
    reader = Reader(clock, *tiers)
    reader.read()
    clock.advance(5)

    def call(_: object) -> Response:
        tiers[forgetful].losing = {"read"}
        return Response(500, {}, b"{}")

    answer = drive.run(reader.engine.reads, reader.plan(), NONE, call)
    assert answer.status.detail == f"{tiers[1 - forgetful].name}; stale-if-error"


def test_no_tier_stands_in_with_what_was_invalidated_while_stripe_failed(clock: FakeClock) -> None:
    tiers = tier_called("redis", clock), tier_called("dynamodb", clock)
    reader = Reader(clock, *tiers)
    reader.read()
    clock.advance(5)

    def call(_: object) -> Response:
        for tier in reversed(tiers):
            protocol.invalidate(tier, reader.plan().key.namespace, ["prod_1"])
        return Response(500, {}, b"{}")

    assert drive.run(reader.engine.reads, reader.plan(), NONE, call).http_status == 500


@pytest.mark.parametrize(("wishes", "stands_in"), [("max-age=201", True), ("max-age=199", False)])
def test_nothing_older_than_the_caller_takes_stands_in_for_a_failure(
    clock: FakeClock, wishes: str, *, stands_in: bool
) -> None:
    reader = Reader(clock, tier_called("redis", clock))
    reader.read()
    reader.well = False
    clock.advance(200)
    assert (reader.read(wishes).http_status == 200) is stands_in
    assert (reader.read(f"{wishes}, max-stale").http_status == 200) is stands_in


def test_what_grew_too_old_for_the_caller_while_stripe_failed_does_not_stand_in(clock: FakeClock) -> None:
    reader = Reader(clock, tier_called("redis", clock))
    reader.read()
    clock.advance(55)

    def call(_: object) -> Response:
        clock.advance(10)
        return Response(500, {}, b"{}")

    assert drive.run(reader.engine.reads, reader.plan(), parse("max-age=60"), call).http_status == 500


def test_an_entry_that_stands_in_for_the_leader_does_not_answer_a_follower_that_wants_none_that_old(
    clock: FakeClock,
) -> None:
    reader = Reader(clock, tier_called("redis", clock))
    reader.read()
    clock.advance(200)
    reads, plan, failure = reader.engine.reads, reader.plan(), Response(500, {}, b"{}")
    leader, strict, second = (reads.begin(plan, wishes, "sync") for wishes in (NONE, parse("max-age=60"), NONE))
    assert isinstance(leader, Ticket)
    assert isinstance(strict, Ticket), "it must not share the leader's call"
    assert isinstance(second, Followed)
    assert reads.complete(leader, failure).status.detail == "redis; stale-if-error"
    assert second.flight.result().status.stale
    assert reads.complete(strict, failure).http_status == 500
