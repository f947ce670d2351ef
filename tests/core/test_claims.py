"""How long a process may ask for all, and how long the others wait."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter, key_of

from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.claims import FIRST_PAUSE, LONGEST_PAUSE, MARGIN, SECOND_CHANCE, Claims
from stripe_cache.core.deadline import CALL_SECONDS, Deadline
from stripe_cache.core.directives import NONE
from stripe_cache.core.errors import TierError
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.ports import LONGEST_CLAIM, Claim, Counter
from stripe_cache.core.protocol import Lease
from stripe_cache.core.steps import Pause, Ticket
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.wiring import shared_tiers

if TYPE_CHECKING:
    from world import World

    from stripe_cache import StripeCache
    from stripe_cache.core.key import Key
    from stripe_cache.core.steps import Step

WAIT, TIMEOUT = 2.0, 10.0


class Told(FaultyTier):
    """Remembers what it was told of claims."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(MemoryTier(1_000_000, clock))
        self.claims: list[tuple[str, float]] = []

    def claim(self, key: Key, generation: str, token: str, seconds: float) -> Claim:
        self.claims.append((token, seconds))
        return super().claim(key, generation, token, seconds)


class Context:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> float:
        return self._seconds * 1000


@pytest.fixture
def tier(clock: FakeClock) -> Told:
    return Told(clock)


@pytest.fixture
def lease(tier: Told) -> Lease:
    return Lease(tier, key_of("acct_1.test"), "g", Counter("e", 0, 0))


@pytest.fixture
def deadline(clock: FakeClock) -> Deadline:
    return Deadline(clock, WAIT, TIMEOUT)


def length(tier: Told) -> float:
    return tier.claims[-1][1]


def test_a_claim_outlives_the_longest_call_and_readers_outlive_the_claim(
    deadline: Deadline, tier: Told, lease: Lease
) -> None:
    claims = Claims(deadline)
    claims.take(lease)
    assert length(tier) == WAIT + TIMEOUT + MARGIN
    assert claims.patience() == length(tier) + SECOND_CHANCE


def test_in_an_invocation_a_claim_ends_with_it_and_a_reader_keeps_time_for_its_own_call(
    deadline: Deadline, tier: Told, lease: Lease, clock: FakeClock
) -> None:
    claims = Claims(deadline)
    deadline.begin(Context(4.0))
    claims.take(lease)
    assert length(tier) == 4.0 + MARGIN
    assert claims.patience() == 4.0 - CALL_SECONDS
    clock.advance(3.5)
    assert claims.patience() == 0
    clock.advance(1.0)
    claims.take(lease)
    assert length(tier) == WAIT + TIMEOUT + MARGIN, "the end has passed: it was an earlier invocation's"


def test_no_claim_is_longer_than_what_a_tier_believes(clock: FakeClock, tier: Told, lease: Lease) -> None:
    claims = Claims(Deadline(clock, WAIT, 300.0))
    claims.take(lease)
    assert length(tier) == LONGEST_CLAIM
    claims.peek(lease)
    assert length(tier) == 0


def test_a_tier_that_does_not_answer_keeps_nobody_from_asking(deadline: Deadline, tier: Told, lease: Lease) -> None:
    tier.failing = {"claim": TierError("no"), "release": TierError("no")}
    assert Claims(deadline).take(lease) is Claim.ALONE
    Claims(deadline).release(lease)


def test_a_forked_child_claims_under_a_name_of_its_own(
    deadline: Deadline, tier: Told, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = Claims(deadline)
    claims.take(lease)
    claims.take(lease)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    claims.take(lease)
    parent, again, child = (token for token, _ in tier.claims)
    assert parent == again != child


def test_pauses_grow_to_a_bound_and_differ() -> None:
    pauses = [Claims.pause()]
    for _ in range(20):
        pauses.append(Claims.pause(pauses[-1]))
    assert FIRST_PAUSE * 0.87 <= pauses[0] <= FIRST_PAUSE * 1.13
    assert max(pauses) <= LONGEST_PAUSE * 1.13
    assert len({Claims.pause() for _ in range(50)}) > 10


def begin(cache: StripeCache, until: float | None = None) -> Step:
    request = Request("get", f"{cache.settings.api_base}/v1/customers/cus_1", "sk_test_claims", "", "", "")
    plan = cache.engine.planner.plan(request)
    assert isinstance(plan, Plan)
    return cache.engine.reads.begin(plan, NONE, until=until)


@pytest.mark.parametrize("tier", ["redis", "dynamodb"])
def test_a_reader_asks_for_itself_when_its_patience_ends(world: World, clock: FakeClock, tier: str) -> None:
    # A tier is asked only while its own timeout fits into what is left.
    holder, waiter = (world.cache(tier, clock=clock, dynamodb_timeout=0.8) for _ in range(2))
    assert isinstance(begin(holder), Ticket)
    waiter.engine.gate.deadline.begin(Context(3.0))
    pause = begin(waiter)
    assert isinstance(pause, Pause)
    clock.advance(1.9)
    again = waiter.engine.reads.resume(pause)
    assert isinstance(again, Pause)
    assert again.until == pause.until
    assert again.seconds <= 0.11
    clock.advance(0.1)
    ticket = waiter.engine.reads.resume(again)
    assert isinstance(ticket, Ticket)
    assert ticket.asked_at == clock.now()


@pytest.mark.parametrize("tier", ["redis", "dynamodb"])
def test_a_reader_whose_record_is_voided_while_it_waits_begins_again(world: World, clock: FakeClock, tier: str) -> None:
    """Were it to ask at once, so would every waiting process, and none of them could store what it gets."""
    holder, first, second = (world.cache(tier, clock=clock) for _ in range(3))
    assert isinstance(begin(holder), Ticket)
    pauses = [begin(first), begin(second)]
    holder.invalidate("cus_1")
    for cache, pause in zip((first, second), pauses, strict=True):
        assert isinstance(pause, Pause)
        assert cache.engine.reads.resume(pause) is None
        assert len(cache.engine.reads._flights) == 0
    assert isinstance(begin(first, pauses[0].until), Ticket)  # type: ignore[union-attr]
    waits = begin(second, pauses[1].until)  # type: ignore[union-attr]
    assert isinstance(waits, Pause)
    assert waits.until == pauses[1].until, "its patience is one for all its beginnings"  # type: ignore[union-attr]


@pytest.mark.parametrize("tier", ["redis", "dynamodb"])
def test_readers_that_looked_just_before_the_value_came_all_find_it(
    world: World, clock: FakeClock, meter: RecordingMeter, tier: str
) -> None:
    """The first of them claims what the holder gave up, finds the value, and must not send the next one to Stripe."""
    holder = world.cache(tier, clock=clock)
    asking = begin(holder)
    assert isinstance(asking, Ticket)
    tiers = [FaultyTier(shared_tiers(holder.settings, clock, meter)[0]) for _ in range(2)]
    first, second = (world.cache(tier, clock=clock, shared=(one,)) for one in tiers)
    found: list[Step] = []
    body = b'{"id": "cus_1", "object": "customer"}'
    tiers[0].before["claim"] = lambda: holder.engine.reads.complete(asking, Response(200, {}, body))
    tiers[1].before["claim"] = lambda: found.append(begin(first))
    found.append(begin(second))
    assert [isinstance(one, Answer) and one.status.collapsed for one in found] == [True, True]


@pytest.mark.parametrize("tier", ["redis", "dynamodb"])
def test_a_holder_that_wakes_up_late_takes_nothing_away_from_the_next(
    world: World, clock: FakeClock, tier: str
) -> None:
    frozen, holder, other = (world.cache(tier, clock=clock, origin_timeout=5.0, origin_wait=5.0) for _ in range(3))
    late = begin(frozen)
    assert isinstance(late, Ticket)
    assert late.claimed is not None
    # The claim has ended: for Redis by its own clock, which no test can move.
    late.claimed.tier.claim(late.claimed.key, late.claimed.generation, frozen.engine.reads._claims._token, 0.001)
    clock.advance(3600)
    taken = begin(holder)
    while isinstance(taken, Pause):
        taken = holder.engine.reads.resume(taken)
    assert isinstance(taken, Ticket)
    frozen.engine.reads.release(late)
    assert isinstance(begin(other), Pause)
