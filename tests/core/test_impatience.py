"""A reader that has a stale entry waits a moment for others, and never past the end of its invocation."""

from __future__ import annotations

import asyncio
import json
import time
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from fakes import FakeClock, eventually
from origin_help import Context
from world import World, status_of

from stripe_cache.core import drive
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.claims import LONGEST_PAUSE, STALE_PATIENCE
from stripe_cache.core.deadline import STALE_READ
from stripe_cache.core.directives import NONE, parse
from stripe_cache.core.errors import NoTimeError
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.steps import Followed, Pause, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe_cache import StripeCache
    from stripe_cache.core.steps import Step

TTL = 100.0
POLICY = {"customer": {"ttl": TTL, "ttl_with_events": TTL, "redis_ttl": TTL, "stale_window": 1000}}
NEW = Response(200, {}, b'{"id": "cus_1", "object": "customer", "name": "new"}')
WAITING = "redis; stale-while-waiting"


class Readers:
    """Processes that share a Redis, in which there is one customer, stale."""

    def __init__(self, world: World, clock: FakeClock) -> None:
        self._world, self._clock = world, clock
        self.one, self.other = self.process(), self.process()
        first = self.begin(self.one)
        assert isinstance(first, Ticket)
        body = json.dumps({"id": "cus_1", "object": "customer", "name": "old"})
        assert self.one.engine.reads.complete(first, Response(200, {}, body.encode())).status.stored
        clock.advance(2 * TTL)

    def process(self) -> StripeCache:
        return self._world.cache("redis", clock=self._clock, policy=POLICY)

    def plan(self, cache: StripeCache) -> Plan:
        url = f"{cache.settings.api_base}/v1/customers/cus_1"
        plan = cache.engine.planner.plan(Request("get", url, "sk_test_hurry", "", "", ""))
        assert isinstance(plan, Plan)
        return plan

    def begin(self, cache: StripeCache, wishes: str = "") -> Step:
        return cache.engine.reads.begin(self.plan(cache), parse(wishes) if wishes else NONE)


@pytest.fixture
def readers(world: World, clock: FakeClock) -> Readers:
    return Readers(world, clock)


def test_behind_another_process_it_waits_a_moment_and_answers_stale(readers: Readers, clock: FakeClock) -> None:
    assert isinstance(readers.begin(readers.one), Ticket)
    pause = readers.begin(readers.other)
    assert isinstance(pause, Pause)
    clock.advance(STALE_PATIENCE - LONGEST_PAUSE)
    pause = readers.other.engine.reads.resume(pause)
    assert isinstance(pause, Pause)
    clock.advance(LONGEST_PAUSE)
    answer = readers.other.engine.reads.resume(pause)
    assert isinstance(answer, Answer)
    assert (answer.status.detail, answer.status.stale, answer.data["name"]) == (WAITING, True, "old")
    assert len(readers.other.engine.reads._flights) == 0


def test_what_the_other_process_fetched_in_time_is_preferred(readers: Readers, clock: FakeClock) -> None:
    asking = readers.begin(readers.one)
    pause = readers.begin(readers.other)
    assert isinstance(asking, Ticket)
    assert isinstance(pause, Pause)
    assert readers.one.engine.reads.complete(asking, NEW).status.stored
    clock.advance(STALE_PATIENCE)
    answer = readers.other.engine.reads.resume(pause)
    assert isinstance(answer, Answer)
    assert (answer.data["name"], answer.status.stale) == ("new", False)


def test_an_entry_that_was_invalidated_while_it_waited_answers_nobody(readers: Readers, clock: FakeClock) -> None:
    assert isinstance(readers.begin(readers.one), Ticket)
    pause = readers.begin(readers.other)
    assert isinstance(pause, Pause)
    readers.process().invalidate("cus_1")
    clock.advance(STALE_PATIENCE)
    assert not isinstance(readers.other.engine.reads.resume(pause), Answer)


def test_a_critical_reader_has_the_patience_of_one_that_has_nothing(readers: Readers, clock: FakeClock) -> None:
    assert isinstance(readers.begin(readers.one), Ticket)
    pause = readers.begin(readers.other, "critical")
    assert isinstance(pause, Pause)
    clock.advance(STALE_PATIENCE)
    assert isinstance(readers.other.engine.reads.resume(pause), Pause)


def test_a_reader_that_wants_none_that_old_has_the_patience_of_one_that_has_nothing(
    readers: Readers, clock: FakeClock
) -> None:
    """The entry was fetched 2 * TTL ago."""
    assert isinstance(readers.begin(readers.one), Ticket)
    wanting, contented = (readers.begin(readers.other, f"max-age={age}") for age in (int(TTL), int(4 * TTL)))
    assert isinstance(wanting, Pause)
    assert isinstance(contented, Pause)
    clock.advance(STALE_PATIENCE)
    assert isinstance(readers.other.engine.reads.resume(wanting), Pause)
    answer = readers.other.engine.reads.resume(contented)
    assert isinstance(answer, Answer)
    assert answer.status.detail == WAITING


def test_a_follower_in_its_own_process_waits_a_moment_too(readers: Readers) -> None:
    leader = readers.begin(readers.one)
    assert isinstance(leader, Ticket)
    followed = readers.begin(readers.one)
    assert isinstance(followed, Followed)
    assert followed.flight is leader.flight
    assert followed.seconds == STALE_PATIENCE
    answer = readers.one.engine.reads.instead(followed.ticket)
    assert answer is not None
    assert answer.status.detail == WAITING
    readers.other.invalidate("cus_1")
    assert readers.one.engine.reads.instead(followed.ticket) is None, "it waits on for the flight"
    assert not leader.flight.done(), "the leader's own readers still wait for Stripe"


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_both_colours_leave_a_flight_that_takes_too_long(
    readers: Readers, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stripe_cache.core.impatience.STALE_PATIENCE", 0.05)
    reads, plan = readers.one.engine.reads, readers.plan(readers.one)
    answers: list[Answer] = []

    async def never(_: object) -> Response:
        raise AssertionError("a follower asked Stripe")

    async def both() -> None:
        leader = asyncio.create_task(drive.run_async(reads, plan, NONE, slowly))
        await asyncio.wait_for(asked.wait(), 30)
        answers.append(await drive.run_async(reads, plan, NONE, never))
        done.set()
        answers.append(await leader)

    async def slowly(_: object) -> Response:
        asked.set()
        await done.wait()
        return NEW

    if colour == "async":
        asked, done = asyncio.Event(), asyncio.Event()
        asyncio.run(both())
    else:
        leader = reads.begin(plan, NONE, "sync")
        assert isinstance(leader, Ticket)
        follower = Thread(target=lambda: answers.append(drive.run(reads, plan, NONE, lambda _: pytest.fail("asked"))))
        follower.start()
        assert eventually(lambda: bool(answers))
        follower.join()
        answers.append(reads.complete(leader, NEW))
    assert [answer.data["name"] for answer in answers] == ["old", "new"]
    assert answers[0].status.detail == WAITING


def test_a_read_given_up_for_an_entry_that_is_gone_begins_again(readers: Readers, clock: FakeClock) -> None:
    """Without the entry it would have had more time: its failure must not be the caller's."""
    tries: list[bool] = []

    def origin(occasion: Any) -> Response:
        tries.append(bool(occasion.miss.stale))
        if len(tries) == 1:
            clock.advance(STALE_READ)
            readers.other.invalidate("cus_1")
            raise TimeoutError
        return NEW

    answer = drive.run(readers.one.engine.reads, readers.plan(readers.one), NONE, origin)
    assert (answer.data["name"], tries) == ("new", [True, False])


def test_a_read_that_failed_by_itself_does_not_begin_again(readers: Readers) -> None:
    def origin(_: object) -> Response:
        readers.other.invalidate("cus_1")
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        drive.run(readers.one.engine.reads, readers.plan(readers.one), NONE, origin)


@pytest.mark.parametrize("colour", ["sync", "async", "plain"])
def test_a_stripe_that_hangs_costs_a_moment_and_not_the_whole_timeout(
    world: World, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stripe_cache.core.deadline.STALE_READ", 0.3)
    clock = Moving()
    customer = world.seed(1)["customers"][0]
    cache = world.cache("redis", clock=clock, policy=POLICY)
    read = reading(world, cache, customer, colour)
    read()
    clock.wall += 2 * TTL
    world.fake.configure(faults=[{"kind": "hang"}])
    began = time.monotonic()
    assert "redis; stale-if-error" in read()
    assert time.monotonic() - began < 30, "without an entry it would have been 60 s"


@pytest.mark.parametrize("left", [0.7, 0.25])
def test_with_too_little_time_left_a_stale_entry_answers_without_a_call(world: World, left: float) -> None:
    clock = FakeClock()
    customer = world.seed(1)["customers"][0]
    cache = world.cache("redis", clock=clock, policy=POLICY, redis_timeout=0.1)
    read = reading(world, cache, customer, "plain")
    read()
    clock.advance(2 * TTL)
    before = world.origin_reads()
    cache.begin_invocation(Context(int(left * 1000)))
    assert WAITING in read()
    assert world.origin_reads() == before
    cache.begin_invocation(Context(60_000))
    assert "hit" not in read()


def test_the_error_of_a_call_that_had_no_time_names_the_remedy() -> None:
    assert "more time" in str(NoTimeError("https://api.stripe.com"))


class Moving(FakeClock):
    """A wall clock that is moved, and a monotonic one that is real."""

    def monotonic(self) -> float:
        return time.monotonic()


def reading(world: World, cache: StripeCache, customer: str, colour: str) -> Callable[[], str]:
    """Return what reads the customer and returns the status in words."""
    key = world.key()
    client = cache.client(key, max_network_retries=0)
    bases: Any = {"api": cache.settings.api_base}

    async def read() -> str:
        http_client = cache.http_client()
        one = stripe.StripeClient(key, http_client=http_client, base_addresses=bases, max_network_retries=0)
        try:
            found = await one.v1.customers.retrieve_async(customer)
        finally:
            await http_client.close_async()  # type: ignore[no-untyped-call]  # the SDK leaves it unannotated
        return status_of(found)

    if colour == "plain":
        return lambda: str(cache.get(f"/v1/customers/{customer}", api_key=key).status)
    if colour == "async":
        return lambda: asyncio.run(read())
    return lambda: status_of(client.v1.customers.retrieve(customer))
