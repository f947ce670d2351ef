"""The steps of the protocol's own narrative, one interleaving per test, over the memory tier as a shared one."""

from __future__ import annotations

import pytest
from fakes import FakeClock, FaultyTier, key_of, stored_of

from stripe_cache.core import protocol
from stripe_cache.core.errors import TierError
from stripe_cache.core.ports import HoldChange, StoreOutcome
from stripe_cache.core.protocol import Lease, fill, invalidate, lease, look
from stripe_cache.tiers.memory import MemoryTier

N = "acct_1.test"
CUSTOMER, SUBSCRIPTION = key_of(N, "cus_1"), key_of(N, "sub_1")
HOUR = 3600.0


@pytest.fixture
def memory(clock: FakeClock) -> MemoryTier:
    return MemoryTier(1_000_000, clock)


@pytest.fixture
def tier(memory: MemoryTier) -> FaultyTier:
    return FaultyTier(memory)


def take(tier: FaultyTier, key: protocol.Key = SUBSCRIPTION, now: float = 0.0) -> Lease:
    (held,) = lease(tier, [key], now)
    assert held is not None
    return held


def put(held: Lease, *embeds: str, now: float = 0.0) -> StoreOutcome:
    entry = stored_of(embeds=dict.fromkeys(embeds, "")).entry
    return fill(held, entry, HOUR, now).outcome


def found(tier: FaultyTier, key: protocol.Key = SUBSCRIPTION) -> bool:
    return look(tier, [key])[0] is not None


def test_a_fill_in_peace_is_found(tier: FaultyTier) -> None:
    assert put(take(tier)) is StoreOutcome.STORED
    assert found(tier)


def test_a_slow_fill_loses_against_an_invalidation_in_between(tier: FaultyTier) -> None:
    held = take(tier)
    invalidate(tier, N, ["sub_1"])
    assert put(held) is StoreOutcome.REFUSED
    assert not found(tier)


def test_a_slow_fill_loses_against_a_flush_and_what_follows_it(tier: FaultyTier, memory: MemoryTier) -> None:
    held = take(tier)
    memory.clear()
    assert put(held) is StoreOutcome.REFUSED
    take(tier)
    assert put(held) is StoreOutcome.REFUSED


def test_a_slow_fill_loses_against_an_invalidation_that_an_eviction_swallowed(
    tier: FaultyTier, memory: MemoryTier
) -> None:
    held = take(tier)
    memory._records.pop((N, "sub_1"))
    invalidate(tier, N, ["sub_1"])
    take(tier)
    assert put(held) is StoreOutcome.REFUSED


def test_an_invalidation_ends_what_embeds_the_record(tier: FaultyTier) -> None:
    assert put(take(tier), "cus_1", "prod_1") is StoreOutcome.STORED
    assert found(tier)
    invalidate(tier, N, ["cus_1"])
    assert not found(tier)


def test_an_embedded_record_that_was_evicted_vouches_for_nothing(tier: FaultyTier, memory: MemoryTier) -> None:
    put(take(tier), "cus_1")
    memory._records.pop((N, "cus_1"))
    assert not found(tier)
    take(tier, CUSTOMER)
    assert not found(tier)


@pytest.mark.parametrize("known", [False, True], ids=["new", "settled"])
def test_an_embedded_record_invalidated_during_the_origin_call_refuses_the_fill(
    tier: FaultyTier, *, known: bool
) -> None:
    """The hole: the body is from before the invalidation, the generations read afterwards are from after it."""
    if known:
        put(take(tier), "cus_1")
    held = take(tier)
    invalidate(tier, N, ["cus_1"])
    assert put(held, "cus_1") is StoreOutcome.REFUSED
    assert put(take(tier), "cus_1") is StoreOutcome.STORED


def test_an_embedded_record_invalidated_and_evicted_during_the_call_refuses_the_fill(
    tier: FaultyTier, memory: MemoryTier
) -> None:
    put(take(tier), "cus_1")
    held = take(tier)
    invalidate(tier, N, ["cus_1"])
    memory._records.pop((N, "cus_1"))
    assert put(held, "cus_1") is StoreOutcome.REFUSED


def test_a_counter_lost_during_the_call_refuses_a_fill_with_new_embedded_records(
    tier: FaultyTier, memory: MemoryTier
) -> None:
    held = take(tier)
    memory._counters.clear()
    assert put(held, "cus_1") is StoreOutcome.REFUSED


def test_an_invalidation_of_something_else_does_not_refuse_settled_records(tier: FaultyTier) -> None:
    put(take(tier), "cus_1")
    held = take(tier)
    invalidate(tier, N, ["other"])
    assert put(held, "cus_1") is StoreOutcome.STORED


def test_a_refused_fill_settles_so_that_the_next_one_passes_in_a_busy_namespace(tier: FaultyTier) -> None:
    held = take(tier)
    invalidate(tier, N, ["other"])
    assert put(held, "cus_1") is StoreOutcome.REFUSED, "unsettled, and the counter has moved"
    held = take(tier)
    invalidate(tier, N, ["other"])
    assert put(held, "cus_1") is StoreOutcome.STORED


def test_an_invalidation_announced_but_not_yet_done_refuses_the_fill(tier: FaultyTier) -> None:
    """Announced before the lease, voided between touch and store: the later look finds another generation."""
    held = take(tier)
    tier.after["touch"] = lambda: invalidate(tier.tier, N, ["cus_1"])
    put(held, "cus_1")
    assert not found(tier)


def test_the_steps_of_an_invalidation_come_in_their_order(tier: FaultyTier) -> None:
    take(tier)
    tier.calls.clear()
    invalidate(tier, N, ["sub_1", "cus_9"])
    assert tier.calls == ["count", "void", "count", "settle"]


@pytest.mark.parametrize("step", ["count", "void"])
def test_an_invalidation_that_cannot_be_done_says_so(tier: FaultyTier, step: str) -> None:
    tier.failing[step] = TierError("no")
    with pytest.raises(TierError):
        invalidate(tier, N, ["sub_1"])


def test_an_invalidation_that_cannot_settle_is_done_all_the_same(tier: FaultyTier) -> None:
    put(take(tier))
    tier.failing["settle"] = TierError("no")
    invalidate(tier, N, ["sub_1"])
    assert not found(tier)


def test_nothing_is_leased_while_a_write_is_in_flight_and_after_its_time_it_is(tier: FaultyTier) -> None:
    hold = protocol.new_hold(1000.0)
    invalidate(tier, N, ["sub_1"], HoldChange(add=hold))
    assert lease(tier, [SUBSCRIPTION, CUSTOMER], 1000.0)[0] is None
    assert lease(tier, [SUBSCRIPTION, CUSTOMER], 1000.0)[1] is not None
    assert lease(tier, [SUBSCRIPTION], 1000.0 + protocol.HOLD_SECONDS + 1)[0] is not None


def test_two_writers_hold_until_both_are_done(tier: FaultyTier, clock: FakeClock) -> None:
    # Of now, because a tier lets go of holds that ended long ago.
    holds = [protocol.new_hold(clock.now()) for _ in range(2)]
    assert holds[0] != holds[1]
    for hold in holds:
        invalidate(tier, N, ["sub_1"], HoldChange(add=hold))
    invalidate(tier, N, ["sub_1"], HoldChange(remove=holds[0]))
    assert lease(tier, [SUBSCRIPTION], clock.now()) == [None]
    invalidate(tier, N, ["sub_1"], HoldChange(remove=holds[1]))
    assert lease(tier, [SUBSCRIPTION], clock.now()) != [None]


def test_an_answer_that_embeds_a_record_being_written_is_not_stored(tier: FaultyTier) -> None:
    held = take(tier)
    invalidate(tier, N, ["cus_1"], HoldChange(add=protocol.new_hold(0.0)))
    late = take(tier)
    assert put(held, "cus_1", now=1.0) is StoreOutcome.REFUSED
    assert put(late, "cus_1", now=1.0) is StoreOutcome.REFUSED


def test_a_look_is_one_read_and_two_only_for_what_embeds(tier: FaultyTier) -> None:
    put(take(tier))
    put(take(tier, CUSTOMER), "prod_1")
    tier.calls.clear()
    assert found(tier)
    assert tier.calls == ["read"]
    assert all(look(tier, [SUBSCRIPTION, CUSTOMER]))
    assert tier.calls == ["read"] * 3


def test_looking_for_nothing_asks_nobody(tier: FaultyTier) -> None:
    assert look(tier, []) == lease(tier, [], 0.0) == []
    assert tier.calls == []
