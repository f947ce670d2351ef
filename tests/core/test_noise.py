"""Invalidations of other records, in mid-call: they must not make every reader of a process ask for itself."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter, eventually, until

from stripe_cache import Settings
from stripe_cache.core import drive
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.directives import NONE
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.ports import Claim
from stripe_cache.core.steps import Queued, Ticket
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from stripe_cache.core.engine import Engine

READERS = 30


class Stripe:
    """Answers when it is let."""

    def __init__(self, status: int = 200) -> None:
        self.calls = 0
        self.status = status
        self.name = "old"
        self.gate = Event()
        self._lock = Lock()

    def __call__(self, _: drive.Occasion = None) -> Response:
        with self._lock:
            self.calls += 1
        body = json.dumps({"id": "cus_1", "object": "customer", "name": self.name}).encode()
        assert self.gate.wait(60)
        return Response(self.status, {}, body)

    async def ask(self, _: drive.Occasion = None) -> Response:
        return await asyncio.to_thread(self)


@pytest.fixture
def tier(clock: FakeClock) -> FaultyTier:
    memory = MemoryTier(1_000_000, clock)
    memory.name = "redis"
    return FaultyTier(memory)


@pytest.fixture
def engine(tier: FaultyTier, clock: FakeClock, meter: RecordingMeter) -> Engine:
    return build(Settings(namespace="acct_1", memory_max_bytes=0), clock=clock, meter=meter, shared=(tier,))


def plan_of(engine: Engine) -> Plan:
    url = "https://api.stripe.com/v1/customers/cus_1"
    plan = engine.planner.plan(Request("get", url, "sk_test_a", "", "", ""))
    assert isinstance(plan, Plan)
    return plan


def waiting(engine: Engine) -> int:
    board = engine.reads._turns
    flights = {*board._open.values(), *engine.reads._flights._flights.values()}
    return sum(len(one._waiters) + len(one._done_callbacks) for one in flights)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("status", "calls"), [(200, 1), (404, 2)])
def test_threads_that_come_during_a_call_wait_for_what_it_stores(engine: Engine, status: int, calls: int) -> None:
    stripe = Stripe(status)
    with ThreadPoolExecutor(READERS) as pool:
        readers = []
        for number in range(READERS):
            readers.append(pool.submit(drive.run, engine.reads, plan_of(engine), NONE, stripe))
            assert eventually(lambda: stripe.calls == 1)
            # The one that asks waits for Stripe; all others wait for it.
            assert eventually(lambda wanted=number: waiting(engine) >= wanted)  # type: ignore[misc]
            engine.invalidate([f"cus_unrelated{number}"])
        stripe.gate.set()
        assert {one.result(60).http_status for one in readers} == {status}
    assert stripe.calls == calls
    assert len(engine.reads._asking) == 0


@pytest.mark.parametrize(("status", "calls"), [(200, 1), (404, 2)])
def test_coroutines_that_come_during_a_call_wait_for_what_it_stores(engine: Engine, status: int, calls: int) -> None:
    stripe = Stripe(status)

    async def crowd() -> list[Answer]:
        readers = []
        for number in range(READERS):
            reading = drive.run_async(engine.reads, plan_of(engine), NONE, stripe.ask)
            readers.append(asyncio.create_task(reading))
            await until(lambda wanted=number: stripe.calls == 1 and waiting(engine) >= wanted)  # type: ignore[misc]
            await asyncio.to_thread(engine.invalidate, [f"cus_unrelated{number}"])
        stripe.gate.set()
        return await asyncio.gather(*readers)

    assert {one.http_status for one in asyncio.run(crowd())} == {status}
    assert stripe.calls == calls
    assert len(engine.reads._asking) == 0


def test_an_invalidation_of_the_record_itself_makes_the_next_reader_ask_at_once(engine: Engine) -> None:
    first = engine.reads.begin(plan_of(engine), NONE)
    engine.invalidate(["cus_1"])
    second = engine.reads.begin(plan_of(engine), NONE)
    assert [isinstance(one, Ticket) for one in (first, second)] == [True, True]


def test_whoever_waited_asks_for_itself_when_what_was_stored_embeds_what_was_invalidated(engine: Engine) -> None:
    """The one reason for which the call ahead could not be shared: its answer must not reach who came later."""
    first = engine.reads.begin(plan_of(engine), NONE)
    assert isinstance(first, Ticket)
    engine.invalidate(["prod_1"])
    second = engine.reads.begin(plan_of(engine), NONE)
    assert isinstance(second, Queued)
    assert second.ahead is first.flight
    held = {"id": "cus_1", "object": "customer", "held": {"id": "prod_1", "object": "product"}}
    engine.reads.complete(first, Response(200, {}, json.dumps(held).encode()))
    step = engine.reads.depart(second.ticket)
    assert isinstance(step, Ticket)
    third = engine.reads.begin(plan_of(engine), NONE)
    assert third is step.flight, "what it found is what the second found"
    engine.reads.abandon(step)


def test_a_record_evicted_between_lease_and_claim_again_and_again_makes_its_readers_rest(
    engine: Engine, tier: FaultyTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    monkeypatch.setattr(drive, "_rest", rests.append)
    gone = iter([Claim.GONE] * 5)
    claim = tier.claim
    monkeypatch.setattr(tier, "claim", lambda *given: next(gone, None) or claim(*given))
    stripe = Stripe()
    stripe.gate.set()
    drive.run(engine.reads, plan_of(engine), NONE, stripe)
    assert stripe.calls == 1
    assert rests[0] == 0.0
    assert all(0.02 < rest < 0.3 for rest in rests[1:])
    assert len(rests) == 5
