"""Misses that no generation vouches for: a write under way, tiers away, no tier at all. They share the next call."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Lock, Semaphore
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter, eventually, until

from stripe_cache import Settings
from stripe_cache.core import drive
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.directives import NONE
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.steps import Queued, Ticket
from stripe_cache.core.writing import Write
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from stripe_cache.core.engine import Engine

MANY = 40
URL = "https://api.stripe.com/v1/customers/cus_1"


class Origin:
    """Answers with the version it found when it was asked, as soon as it is let."""

    def __init__(self) -> None:
        self.calls = 0
        self.version = 1
        self.errors: list[Exception] = []
        self.answers = Semaphore(0)
        self._lock = Lock()

    def __call__(self, _occasion: drive.Occasion = None) -> Response:
        with self._lock:
            self.calls += 1
            version = self.version
            error = self.errors.pop() if self.errors else None
        assert self.answers.acquire(timeout=60)
        if error is not None:
            raise error
        body = json.dumps({"id": "cus_1", "object": "customer", "version": version})
        return Response(200, {}, body.encode())

    async def ask(self, occasion: drive.Occasion) -> Response:
        return await asyncio.to_thread(self, occasion)

    def open(self) -> None:
        self.answers.release(1000)


@pytest.fixture
def origin() -> Origin:
    return Origin()


@pytest.fixture(params=["a write under way", "tiers away", "no tier at all"])
def engine(request: pytest.FixtureRequest, clock: FakeClock, meter: RecordingMeter) -> Engine:
    tier = MemoryTier(1_000_000, clock)
    tier.name = "redis"
    shared = FaultyTier(tier, clock)
    if request.param == "no tier at all":
        return build(Settings(namespace="acct_1", events=True, memory_max_bytes=0), clock=clock, meter=meter, shared=())
    guarded = GuardedTier(shared, 60.0, clock, meter)
    made = build(Settings(namespace="acct_1", events=True), clock=clock, meter=meter, shared=(guarded,))
    if request.param == "tiers away":
        shared.kill()
    else:
        Write(made.invalidator, "acct_1.test", "post", URL, "name=x").begin(clock.now())
    return made


def plan_of(engine: Engine) -> Plan:
    plan = engine.planner.plan(Request("get", URL, "sk_test_turns", "", "", ""))
    assert isinstance(plan, Plan)
    return plan


def read(engine: Engine, origin: Origin) -> Answer:
    return drive.run(engine.reads, plan_of(engine), NONE, origin)


def waiting(engine: Engine) -> int:
    """Count the threads that wait for a call, their own or the one ahead."""
    turns = engine.reads._turns
    return sum(len(one._waiters) for one in {*turns._open.values(), *turns._sent.values()})  # type: ignore[attr-defined]


def test_those_who_come_during_a_call_share_the_next_one(engine: Engine, origin: Origin) -> None:
    with ThreadPoolExecutor(MANY) as pool:
        first = pool.submit(read, engine, origin)
        assert eventually(lambda: origin.calls == 1)
        origin.version = 2
        others = [pool.submit(read, engine, origin) for _ in range(MANY - 1)]
        assert eventually(lambda: waiting(engine) == MANY - 1)
        origin.open()
        answers = [one.result(60) for one in others]
        assert first.result(60).data["version"] == 1
    assert origin.calls == 2
    assert {answer.data["version"] for answer in answers} == {2}, "the call under way may be older than they are"
    assert sum(answer.status.collapsed for answer in answers) == MANY - 2
    assert len(engine.reads._turns) == 0


def test_a_failure_is_shared_with_those_of_the_same_call_and_nobody_else(engine: Engine, origin: Origin) -> None:
    origin.errors = [ConnectionError("no route")]
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(read, engine, origin)
        assert eventually(lambda: origin.calls == 1)
        others = [pool.submit(read, engine, origin) for _ in range(3)]
        assert eventually(lambda: waiting(engine) == 3)
        origin.open()
        assert isinstance(first.exception(60), ConnectionError)
        assert [one.result(60).data["version"] for one in others] == [1, 1, 1]
    assert origin.calls == 2


def test_whoever_leads_the_next_call_goes_when_its_patience_ends(engine: Engine, clock: FakeClock) -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 3000

    plan = plan_of(engine)
    first = engine.reads.begin(plan, NONE)
    assert isinstance(first, Ticket)
    engine.gate.deadline.begin(Context())
    second = engine.reads.begin(plan, NONE)
    assert isinstance(second, Queued)
    assert second.seconds == 2.0, "a second is kept for its own call"
    clock.advance(2.0)
    engine.reads.depart(second.ticket)
    third = engine.reads.begin(plan, NONE)
    assert isinstance(third, Queued)
    assert third.ahead is second.ticket.flight
    assert third.seconds == 0
    for ticket in (first, second.ticket, third.ticket):
        engine.reads.abandon(ticket)
    assert len(engine.reads._turns) == 0


@pytest.mark.parametrize("cancelled", ["nobody", "the one that leads the next call"])
def test_coroutines_share_the_next_call_as_threads_do(engine: Engine, origin: Origin, cancelled: str) -> None:
    def queued() -> int:
        return sum(len(one._done_callbacks) for one in board._open.values())  # type: ignore[attr-defined]

    board = engine.reads._turns

    async def main() -> list[Answer]:
        plan = plan_of(engine)
        first = asyncio.create_task(drive.run_async(engine.reads, plan, NONE, origin.ask))
        await until(lambda: origin.calls == 1, first)
        origin.version = 2
        leader = asyncio.create_task(drive.run_async(engine.reads, plan, NONE, origin.ask))
        await until(lambda: any(one._done_callbacks for one in board._sent.values()))  # type: ignore[attr-defined]
        others = [asyncio.create_task(drive.run_async(engine.reads, plan, NONE, origin.ask)) for _ in range(9)]
        await until(lambda: queued() == 9)
        if cancelled == "nobody":
            others.append(leader)
        else:
            leader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leader
            await until(lambda: queued() == 8)
        origin.open()
        await first
        return await asyncio.gather(*others)

    answers = asyncio.run(main())
    assert origin.calls == 2
    assert {answer.data["version"] for answer in answers} == {2}
    assert len(board) == 0
