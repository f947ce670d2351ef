from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter, eventually, until

from stripe_cache import Settings
from stripe_cache.core import drive, metrics
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.cache_status import CacheStatus
from stripe_cache.core.directives import NONE, parse
from stripe_cache.core.plan import Plan, Request
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from stripe_cache.core.engine import Engine

KEY = "sk_test_drive"
MANY = 50


class Origin:
    """Answers with a version number; keeps its callers until the gate is opened."""

    def __init__(self) -> None:
        self.calls = 0
        self.version = 1
        self.gate = Event()
        self.arrived = Event()
        self.error: BaseException | None = None

    def __call__(self, _occasion: drive.Occasion = None) -> Response:
        self.calls += 1
        version, error = self.version, self.error
        self.arrived.set()
        assert self.gate.wait(60)
        if error is not None:
            raise error
        body = json.dumps({"id": "cus_1", "object": "customer", "version": version})
        return Response(200, {"Request-Id": "req_1"}, body.encode())

    async def ask(self, occasion: drive.Occasion) -> Response:
        return await asyncio.to_thread(self, occasion)


@pytest.fixture
def shared(clock: FakeClock) -> FaultyTier:
    tier = MemoryTier(1_000_000, clock)
    tier.name = "redis"
    return FaultyTier(tier, clock)


@pytest.fixture
def guarded(shared: FaultyTier, clock: FakeClock, meter: RecordingMeter) -> GuardedTier:
    return GuardedTier(shared, 60.0, clock, meter)


@pytest.fixture
def engine(guarded: GuardedTier, clock: FakeClock, meter: RecordingMeter) -> Engine:
    return build(Settings(namespace="acct_1", events=True), clock=clock, meter=meter, shared=(guarded,))


@pytest.fixture
def origin() -> Origin:
    return Origin()


def plan_of(engine: Engine, path: str = "/v1/customers/cus_1") -> Plan:
    plan = engine.planner.plan(Request("get", f"https://api.stripe.com{path}", KEY, "", "", ""))
    assert isinstance(plan, Plan)
    return plan


def waiting(engine: Engine) -> int:
    """Count the threads that wait for a flight."""
    flights = list(engine.reads._flights._flights.values())
    return sum(len(flight._waiters) for flight in flights)  # type: ignore[attr-defined]


def read(engine: Engine, origin: Origin, wishes: str = "") -> Answer:
    return drive.run(engine.reads, plan_of(engine), parse(wishes) if wishes else NONE, origin)


def test_many_threads_that_ask_the_same_cause_one_origin_call(engine: Engine, origin: Origin) -> None:
    with ThreadPoolExecutor(MANY) as pool:
        asked = [pool.submit(read, engine, origin) for _ in range(MANY)]
        assert eventually(lambda: waiting(engine) == MANY - 1)
        origin.gate.set()
        answers = [one.result(60) for one in asked]
    assert origin.calls == 1
    assert sum(answer.status.collapsed for answer in answers) == MANY - 1
    assert sum(answer.status.stored for answer in answers) == 1
    assert {answer.body for answer in answers} == {answers[0].body}
    assert len(engine.reads._flights) == 0


def test_followers_do_not_share_one_mutable_answer() -> None:
    leader = Answer(b'{"a": 1}', {}, 200, CacheStatus(fwd="uri-miss", stored=True))
    leader.data["a"] = "changed by the leader"
    assert leader.joined().data == {"a": 1}


def test_a_leader_that_fails_passes_its_error_on_and_the_next_reader_starts_over(
    engine: Engine, origin: Origin
) -> None:
    origin.error = ConnectionError("no route")
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(read, engine, origin) for _ in range(5)]
        assert eventually(lambda: waiting(engine) == 4)
        origin.gate.set()
        errors = [one.exception(60) for one in asked]
    assert {str(error) for error in errors} == {"no route"}
    assert origin.calls == 1
    origin.error = None
    assert read(engine, origin).data["version"] == 1


def test_a_leader_that_is_killed_lets_a_follower_lead(engine: Engine, origin: Origin) -> None:
    origin.error = KeyboardInterrupt()
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(read, engine, origin)
        assert origin.arrived.wait(60)
        origin.error = None
        follower = pool.submit(read, engine, origin)
        assert eventually(lambda: waiting(engine) == 1)
        origin.gate.set()
        assert isinstance(leader.exception(60), KeyboardInterrupt)
        answer = follower.result(60)
    assert (origin.calls, answer.status.collapsed) == (2, False)


def test_a_reader_after_an_invalidation_does_not_join_the_flight_from_before_it(engine: Engine, origin: Origin) -> None:
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(read, engine, origin)
        assert eventually(lambda: origin.calls == 1)
        origin.version = 2
        engine.invalidate(["cus_1"])
        late = pool.submit(read, engine, origin)
        assert eventually(lambda: origin.calls == 2)
        origin.gate.set()
        assert early.result(60).data["version"] == 1
        assert late.result(60).data["version"] == 2
    assert read(engine, origin).data["version"] == 2


class Context:
    """An invocation that ends soon."""

    def get_remaining_time_in_millis(self) -> float:
        return 1050.0


def test_a_follower_asks_for_itself_in_time_before_its_invocation_ends(engine: Engine, origin: Origin) -> None:
    async def main() -> list[Answer]:
        plan = plan_of(engine)
        return await asyncio.gather(*(drive.run_async(engine.reads, plan, NONE, origin.ask) for _ in range(2)))

    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(read, engine, origin)
        assert eventually(lambda: origin.calls == 1)
        engine.gate.deadline.begin(Context())
        follower, coroutines = pool.submit(read, engine, origin), pool.submit(asyncio.run, main())
        assert eventually(lambda: origin.calls == 4)
        origin.gate.set()
        assert follower.result(60).status.detail == "leader-lost"
        assert sorted(one.status.detail for one in coroutines.result(60)) == ["", "leader-lost"]
        assert leader.result(60).status.stored


def test_the_leaders_own_timeout_is_an_error_of_the_call_and_not_a_lost_leader(engine: Engine, origin: Origin) -> None:
    origin.error = TimeoutError("Stripe is slow")
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(read, engine, origin) for _ in range(2)]
        assert eventually(lambda: waiting(engine) == 1)
        origin.gate.set()
        assert [str(one.exception(60)) for one in asked] == ["Stripe is slow"] * 2
    assert origin.calls == 1


def test_no_cache_never_joins_a_flight(engine: Engine, origin: Origin) -> None:
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(read, engine, origin), pool.submit(read, engine, origin, "no-cache")]
        assert eventually(lambda: origin.calls == 2)
        origin.gate.set()
        assert [one.result(60).status.collapsed for one in asked] == [False, False]


def test_coroutines_that_ask_the_same_cause_one_origin_call(engine: Engine, origin: Origin) -> None:
    async def main() -> list[Answer]:
        plan = plan_of(engine)
        asked = [asyncio.create_task(drive.run_async(engine.reads, plan, NONE, origin.ask)) for _ in range(20)]
        flights = engine.reads._flights._flights
        await until(lambda: sum(len(one._done_callbacks) for one in flights.values()) == 19)  # type: ignore[attr-defined]
        origin.gate.set()
        return await asyncio.gather(*asked)

    answers = asyncio.run(main())
    assert origin.calls == 1
    assert sum(answer.status.collapsed for answer in answers) == 19


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_cancelled_coroutine_leaves_the_others_unharmed(engine: Engine, origin: Origin, who: str) -> None:
    async def main() -> Answer:
        plan = plan_of(engine)
        leader = asyncio.create_task(drive.run_async(engine.reads, plan, NONE, origin.ask))
        assert await asyncio.to_thread(origin.arrived.wait, 60)
        follower = asyncio.create_task(drive.run_async(engine.reads, plan, NONE, origin.ask))
        flights = engine.reads._flights._flights
        await until(lambda: any(one._done_callbacks for one in flights.values()))  # type: ignore[attr-defined]
        cancelled, other = (leader, follower) if who == "leader" else (follower, leader)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        origin.gate.set()
        return await asyncio.wait_for(other, 60)

    assert asyncio.run(main()).data["version"] == 1
    assert origin.calls == (2 if who == "leader" else 1)
    assert len(engine.reads._flights) == 0


def test_a_coroutine_cancelled_while_the_tiers_are_asked_leaves_no_flight_behind(
    engine: Engine, shared: FaultyTier, origin: Origin
) -> None:
    """Its thread goes on, and would lead a flight that nobody ever lands."""
    asked, go_on = Event(), Event()

    def dawdle() -> None:
        asked.set()
        assert go_on.wait(60)

    origin.gate.set()

    async def main() -> Answer:
        shared.before["touch"] = dawdle
        first = asyncio.create_task(drive.run_async(engine.reads, plan_of(engine), NONE, origin.ask))
        assert await asyncio.to_thread(asked.wait, 60)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        go_on.set()
        return await asyncio.wait_for(drive.run_async(engine.reads, plan_of(engine), NONE, origin.ask), 60)

    assert asyncio.run(main()).data["version"] == 1
    assert len(engine.reads._flights) == 0


def test_a_slow_tier_does_not_stop_the_event_loop(engine: Engine, shared: FaultyTier, origin: Origin) -> None:
    go_on = Event()
    shared.before["read"] = lambda: go_on.wait(60)
    origin.gate.set()

    async def main() -> Answer:
        reading = asyncio.create_task(drive.run_async(engine.reads, plan_of(engine), NONE, origin.ask))
        await until(lambda: "read" in shared.calls)
        # The tier hangs; this coroutine still gets its turns, or the event below would never be set.
        for _ in range(100):
            await asyncio.sleep(0)
        go_on.set()
        return await reading

    assert asyncio.run(main()).status.stored


def test_every_read_is_measured(engine: Engine, origin: Origin, meter: RecordingMeter) -> None:
    origin.gate.set()
    read(engine, origin)
    read(engine, origin)
    assert meter.counts[metrics.HIT, "memory"] == 1
    assert meter.counts[metrics.MISS, ""] == 1
    # What the origin was asked is counted where it is asked: by the gate.
    assert [name for name, _ in meter.observed] == [metrics.READ_LATENCY] * 2
