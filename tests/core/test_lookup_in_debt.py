"""A stale entry may stand in for the origin only if its tier knows of everything this process wrote."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter, eventually

from stripe_cache import Settings
from stripe_cache.core import drive
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.directives import NONE
from stripe_cache.core.errors import TierError
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.writing import Write
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from stripe_cache.core.engine import Engine

URL = "https://api.stripe.com/v1/customers/cus_1"
NAMESPACE = "acct_1.test"


class DownError(Exception):
    """Stripe cannot be reached."""


@pytest.fixture
def redis(clock: FakeClock) -> FaultyTier:
    memory = MemoryTier(1_000_000, clock)
    memory.name = "redis"
    return FaultyTier(memory)


@pytest.fixture
def engine(redis: FaultyTier, clock: FakeClock, meter: RecordingMeter) -> Engine:
    made = build(Settings(namespace="acct_1", memory_max_bytes=0), clock=clock, meter=meter, shared=(redis,))
    plan = plan_of(made)
    drive.run(made.reads, plan, NONE, lambda _: answer("old"))
    clock.advance(plan.lifetimes.fresh + 1)
    return made


def plan_of(engine: Engine) -> Plan:
    plan = engine.planner.plan(Request("get", URL, "sk_test_a", "", "", ""))
    assert isinstance(plan, Plan)
    return plan


def answer(name: str) -> Response:
    return Response(200, {}, json.dumps({"id": "cus_1", "object": "customer", "name": name}).encode())


def write_untold(engine: Engine, redis: FaultyTier, clock: FakeClock) -> None:
    """Write while Redis cannot be told; afterwards it can be read, and not be told."""
    redis.kill()
    write = Write(engine.invalidator, NAMESPACE, "post", URL, "name=new")
    write.begin(clock.now())
    write.end(answer("new").body)
    redis.failing = {"void": TierError("a server that is full")}


def test_a_failed_call_is_not_excused_by_an_entry_of_a_tier_that_was_not_told_of_a_write(
    engine: Engine, redis: FaultyTier, clock: FakeClock
) -> None:
    def fails(_: drive.Occasion) -> Response:
        write_untold(engine, redis, clock)
        raise DownError

    with pytest.raises(DownError):
        drive.run(engine.reads, plan_of(engine), NONE, fails)


def test_a_tier_that_can_be_told_in_the_meantime_is_told_before_it_is_looked_into(
    engine: Engine, redis: FaultyTier, clock: FakeClock
) -> None:
    def fails(_: drive.Occasion) -> Response:
        write_untold(engine, redis, clock)
        redis.revive()
        raise DownError

    with pytest.raises(DownError):
        drive.run(engine.reads, plan_of(engine), NONE, fails)
    # The debt is paid, so that the tier serves again, and the old entry is gone from it.
    assert drive.run(engine.reads, plan_of(engine), NONE, lambda _: answer("new")).data["name"] == "new"
    assert drive.run(engine.reads, plan_of(engine), NONE, lambda _: answer("none")).status.tier == "redis"


def test_those_who_began_after_a_write_are_not_handed_what_their_leader_came_past_before_it(
    engine: Engine, redis: FaultyTier, clock: FakeClock
) -> None:
    """first: asks    leader: comes past the old entry, waits    a write, Redis is not told    follower: joins."""
    goes = [Event(), Event()]
    asked = Event()

    def first(_: drive.Occasion) -> Response:
        asked.set()
        assert goes[0].wait(20)
        raise DownError

    def second(_: drive.Occasion) -> Response:
        assert goes[1].wait(20)
        raise DownError

    def read(origin: object) -> Answer:
        return drive.run(engine.reads, plan_of(engine), NONE, origin)  # type: ignore[arg-type]

    redis.failing = {"touch": TierError("no lease")}
    turns = engine.reads._turns
    with ThreadPoolExecutor(3) as pool:
        ahead = pool.submit(read, first)
        assert asked.wait(20)
        leader = pool.submit(read, second)
        assert eventually(lambda: len(turns._open) == 1)
        write_untold(engine, redis, clock)
        follower = pool.submit(read, second)
        (flight,) = turns._open.values()
        assert eventually(lambda: len(flight._waiters) == 1)  # type: ignore[attr-defined]
        for go in goes:
            go.set()
        errors = [one.exception(20) for one in (ahead, leader, follower)]
    assert [type(error) for error in errors] == [DownError] * 3


def test_a_look_for_what_others_filled_does_not_read_a_tier_in_debt(
    engine: Engine, redis: FaultyTier, clock: FakeClock
) -> None:
    # The entry is fresh for whoever looks now, and the walk came past none.
    miss = engine.reads.peek(plan_of(engine))
    assert not isinstance(miss, Answer)
    clock.wall -= plan_of(engine).lifetimes.fresh
    lookup = engine.reads._lookup
    assert lookup.look_again(miss, NONE) is not None
    write_untold(engine, redis, clock)
    assert lookup.look_again(miss, NONE) is None
