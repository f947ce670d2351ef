from __future__ import annotations

import pytest
from fakes import FakeClock, FaultyTier

from stripe_cache.core import protocol
from stripe_cache.core.near import Near, Witness
from stripe_cache.tiers.memory import MemoryTier

N = "acct_1.test"


@pytest.fixture
def tier(clock: FakeClock) -> FaultyTier:
    return FaultyTier(MemoryTier(1_000_000, clock))


@pytest.fixture
def near(clock: FakeClock) -> Near:
    return Near(1.0, clock)


@pytest.fixture
def witness(tier: FaultyTier) -> Witness:
    states, counter = tier.touch(N, ["cus_1", "prod_1"], "g", 60)
    tier.calls.clear()
    standing = {"cus_1": states[0].generation, "prod_1": states[1].generation}
    return Witness(tier, standing, (counter.epoch, counter.finished))


def test_a_copy_is_served_without_asking_within_the_lag(near: Near, tier: FaultyTier, witness: Witness) -> None:
    assert near.is_current(N, witness)
    assert near.is_current(N, witness)
    assert tier.calls == ["count"]


def test_the_counter_is_read_again_after_the_lag_and_nothing_else_in_a_quiet_namespace(
    near: Near, tier: FaultyTier, witness: Witness, clock: FakeClock
) -> None:
    near.is_current(N, witness)
    clock.advance(1.0)
    assert near.is_current(N, witness)
    assert tier.calls == ["count", "count"]


def test_an_invalidation_of_something_else_costs_one_comparison(
    near: Near, tier: FaultyTier, witness: Witness, clock: FakeClock
) -> None:
    near.is_current(N, witness)
    protocol.invalidate(tier.tier, N, ["cus_2"])
    clock.advance(1.0)
    tier.calls.clear()
    assert near.is_current(N, witness)
    assert near.is_current(N, witness)
    assert tier.calls == ["count", "read"]


@pytest.mark.parametrize("record", ["cus_1", "prod_1"])
def test_an_invalidation_of_the_copy_or_of_what_it_embeds_ends_it_after_the_lag(
    near: Near, tier: FaultyTier, witness: Witness, clock: FakeClock, record: str
) -> None:
    near.is_current(N, witness)
    protocol.invalidate(tier.tier, N, [record])
    assert near.is_current(N, witness), "within the lag nobody has looked"
    clock.advance(1.0)
    assert not near.is_current(N, witness)


def test_a_frozen_process_whose_monotonic_clock_stood_still_asks(
    near: Near, tier: FaultyTier, witness: Witness, clock: FakeClock
) -> None:
    near.is_current(N, witness)
    protocol.invalidate(tier.tier, N, ["cus_1"])
    clock.wall += 5.0
    assert not near.is_current(N, witness)


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_wall_clock_that_jumps_makes_it_ask(
    near: Near, tier: FaultyTier, witness: Witness, clock: FakeClock, jump: float
) -> None:
    near.is_current(N, witness)
    protocol.invalidate(tier.tier, N, ["cus_1"])
    clock.wall += jump
    assert not near.is_current(N, witness)


def test_a_wall_clock_set_back_to_where_it_was_does_not_hide_the_time_that_passed(
    near: Near, tier: FaultyTier, witness: Witness, clock: FakeClock
) -> None:
    near.is_current(N, witness)
    protocol.invalidate(tier.tier, N, ["cus_1"])
    clock.ticks += 2.0
    assert not near.is_current(N, witness)


def test_a_tier_that_does_not_answer_vouches_for_nothing(near: Near, tier: FaultyTier, witness: Witness) -> None:
    tier.kill()
    assert not near.is_current(N, witness)


def test_a_counter_that_began_anew_is_no_proof(
    near: Near, tier: FaultyTier, witness: Witness, clock: FakeClock
) -> None:
    near.is_current(N, witness)
    tier.tier.clear()  # type: ignore[attr-defined]
    clock.advance(1.0)
    assert not near.is_current(N, witness)


def test_an_invalidation_between_the_counter_and_the_generations_is_seen(
    near: Near, tier: FaultyTier, witness: Witness, clock: FakeClock
) -> None:
    """The counter says "moved" for another record's sake; ours is voided before its generation is read."""
    near.is_current(N, witness)
    protocol.invalidate(tier.tier, N, ["cus_2"])
    clock.advance(1.0)
    tier.before["read"] = lambda: protocol.invalidate(tier.tier, N, ["cus_1"])
    assert not near.is_current(N, witness)


def test_forgetting_makes_the_next_use_ask(near: Near, tier: FaultyTier, witness: Witness) -> None:
    near.is_current(N, witness)
    protocol.invalidate(tier.tier, N, ["cus_1"])
    near.forget()
    assert not near.is_current(N, witness)


def test_an_older_look_does_not_replace_a_newer_one(near: Near, tier: FaultyTier, clock: FakeClock) -> None:
    early = near.moment()
    before = tier.count(N)
    clock.advance(0.5)
    after = tier.count(N, started=1, finished=1)
    near.note(tier, N, after, near.moment())
    near.note(tier, N, before, early)
    assert near.last_seen(tier, N) == (after.epoch, 1)
    assert near.last_seen(tier, "other") is None


def test_a_copy_that_was_found_out_of_date_is_not_trusted_at_the_next_look(
    near: Near, tier: FaultyTier, witness: Witness, clock: FakeClock
) -> None:
    near.is_current(N, witness)
    before = witness.seen
    protocol.invalidate(tier.tier, N, ["cus_1"])
    clock.advance(1.0)
    assert [near.is_current(N, witness), near.is_current(N, witness)] == [False, False]
    assert witness.seen == before
