from __future__ import annotations

import pytest
from fakes import FakeClock, FaultyTier, key_of, stored_of

from stripe_cache.core import debts as module
from stripe_cache.core.debts import Debts
from stripe_cache.core.errors import TierError
from stripe_cache.tiers.memory import MemoryTier

N = "acct_1.test"


@pytest.fixture
def tier(clock: FakeClock) -> FaultyTier:
    faulty = FaultyTier(MemoryTier(10_000_000, clock))
    faulty.touch(N, ["cus_1"], "g", 60)
    faulty.store(key_of(N), "g", stored_of(), 60)
    faulty.calls.clear()
    return faulty


def test_a_tier_that_is_owed_nothing_is_trusted_without_being_asked(tier: FaultyTier) -> None:
    assert Debts().is_trusted(tier)
    assert tier.calls == []


def test_a_debt_is_paid_before_the_tier_is_trusted(tier: FaultyTier) -> None:
    debts = Debts()
    debts.add(tier, N, ["cus_1"])
    assert debts.owed(tier) == 1
    assert debts.is_trusted(tier)
    assert debts.owed(tier) == 0
    (reading,) = tier.read(N, [module.protocol.Slot("cus_1", key_of(N))])
    assert reading.stored is None


@pytest.mark.parametrize("step", ["count", "void"])
def test_a_debt_that_cannot_be_paid_stays(tier: FaultyTier, step: str) -> None:
    debts = Debts()
    debts.add(tier, N, ["cus_1"])
    debts.add(tier, "acct_2.test", ["cus_2"])
    tier.failing[step] = TierError("no")
    assert not debts.is_trusted(tier)
    assert debts.owed(tier) == 2
    tier.revive()
    assert debts.is_trusted(tier)


def test_what_was_paid_before_a_failure_is_not_paid_twice(tier: FaultyTier) -> None:
    debts = Debts()
    debts.add(tier, N, ["cus_1"])
    debts.add(tier, "acct_2.test", ["cus_2"])
    # The first namespace is settled; then the tier dies.
    tier.after["settle"] = tier.kill
    tier.tier.touch("acct_2.test", ["cus_2"], "g", 60)
    assert not debts.is_trusted(tier)
    assert debts.owed(tier) == 1


def test_the_same_record_is_owed_once(tier: FaultyTier) -> None:
    debts = Debts()
    for _ in range(5):
        debts.add(tier, N, ["cus_1", "cus_2"])
    assert debts.owed(tier) == 2


def test_a_hopeless_debt_leaves_the_tier_unread(tier: FaultyTier) -> None:
    debts = Debts()
    debts.add(tier, N, [f"cus_{number}" for number in range(module.MOST + 1)])
    assert not debts.is_trusted(tier)
    assert tier.calls == []


def test_tiers_have_debts_of_their_own(tier: FaultyTier, clock: FakeClock) -> None:
    debts, memory = Debts(), MemoryTier(1000, clock)
    memory.name = "other"
    debts.add(memory, N, ["cus_1"])
    assert debts.is_trusted(tier)
    assert tier.calls == []
