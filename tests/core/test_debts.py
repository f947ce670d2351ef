from __future__ import annotations

import pytest
from fakes import FakeClock, FaultyTier, key_of, stored_of

from stripe_cache.core import debts as module
from stripe_cache.core.debts import Debts
from stripe_cache.core.descent import Tiers
from stripe_cache.core.errors import TierError
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.core.ports import HoldChange, NullMeter
from stripe_cache.core.writing import Write
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
    assert tier in Debts().trusted((tier,))
    assert tier.calls == []


def test_a_debt_is_paid_before_the_tier_is_trusted(tier: FaultyTier) -> None:
    debts = Debts()
    debts.add(tier, N, ["cus_1"])
    assert debts.owed(tier) == 1
    assert tier in debts.trusted((tier,))
    assert debts.owed(tier) == 0
    (reading,) = tier.read(N, [module.protocol.Slot("cus_1", key_of(N))])
    assert reading.stored is None


@pytest.mark.parametrize("step", ["count", "void"])
def test_a_debt_that_cannot_be_paid_stays(tier: FaultyTier, step: str) -> None:
    debts = Debts()
    debts.add(tier, N, ["cus_1"])
    debts.add(tier, "acct_2.test", ["cus_2"])
    tier.failing[step] = TierError("no")
    assert tier not in debts.trusted((tier,))
    assert debts.owed(tier) == 2
    tier.revive()
    assert tier in debts.trusted((tier,))


def test_what_was_paid_before_a_failure_is_not_paid_twice(tier: FaultyTier) -> None:
    debts = Debts()
    debts.add(tier, N, ["cus_1"])
    debts.add(tier, "acct_2.test", ["cus_2"])
    # The first namespace is settled; then the tier dies.
    tier.after["settle"] = tier.kill
    tier.tier.touch("acct_2.test", ["cus_2"], "g", 60)
    assert tier not in debts.trusted((tier,))
    assert debts.owed(tier) == 1


def test_the_same_record_is_owed_once(tier: FaultyTier) -> None:
    debts = Debts()
    for _ in range(5):
        debts.add(tier, N, ["cus_1", "cus_2"])
    assert debts.owed(tier) == 2


def test_a_hopeless_debt_leaves_the_tier_unread(tier: FaultyTier) -> None:
    debts = Debts()
    debts.add(tier, N, [f"cus_{number}" for number in range(module.MOST + 1)])
    assert tier not in debts.trusted((tier,))
    assert tier.calls == []


A, B, C = (f"{token}@9999999999" for token in "abc")


def held(tier: FaultyTier, record: str) -> bool:
    ((state,), _) = tier.tier.touch(N, [record], "x", 60)
    return bool(state.holds)


def test_paying_takes_away_the_holds_that_were_to_go_and_no_others(tier: FaultyTier) -> None:
    debts = Debts()
    for hold, records in {A: ["cus_1", "sub_1"], B: ["cus_1"], C: ["inv_1"]}.items():
        tier.tier.void(N, records, hold, HoldChange(add=hold))
    debts.add(tier, N, ["cus_1", "sub_1"], A)
    debts.add(tier, N, ["cus_1"], B)
    debts.add(tier, N, ["cus_1", "inv_1"])
    assert debts.owed(tier) == 3
    tier.failing["void"] = TierError("no")
    assert tier not in debts.trusted((tier,))
    tier.revive()
    assert tier in debts.trusted((tier,))
    assert [held(tier, record) for record in ("cus_1", "sub_1", "inv_1")] == [False, False, True]


def test_the_first_holds_of_an_outage_are_taken_away_and_the_rest_end_by_themselves(tier: FaultyTier) -> None:
    debts = Debts()
    records = [f"cus_{number}" for number in range(module.MOST_HOLDS + 1)]
    for number, record in enumerate(records):
        tier.tier.void(N, [record], str(number), HoldChange(add=f"{number}@9999999999"))
        debts.add(tier, N, [record], f"{number}@9999999999")
    assert tier in debts.trusted((tier,))
    assert [record for record in records if held(tier, record)] == records[-1:]


def test_a_write_whose_end_a_tier_missed_leaves_no_hold_there(tier: FaultyTier, clock: FakeClock) -> None:
    """The hold would keep the customer from being cached for a quarter of an hour after the tier is back."""
    debts = Debts()
    invalidator = Invalidator(Tiers(None, (tier,)), debts, NullMeter())
    write = Write(invalidator, N, "post", "https://api.stripe.com/v1/customers/cus_1", "name=x")
    write.begin(clock.now())
    assert held(tier, "cus_1")
    tier.kill()
    write.end("{}")
    tier.revive()
    assert tier in debts.trusted((tier,))
    assert not held(tier, "cus_1")


def test_a_debt_of_a_begun_write_puts_no_hold_back_after_its_end(tier: FaultyTier, clock: FakeClock) -> None:
    debts = Debts()
    invalidator = Invalidator(Tiers(None, (tier,)), debts, NullMeter())
    write = Write(invalidator, N, "post", "https://api.stripe.com/v1/customers/cus_1", "name=x")
    tier.kill()
    write.begin(clock.now())
    tier.revive()
    write.end("{}")
    assert tier in debts.trusted((tier,))
    assert not held(tier, "cus_1")


def test_tiers_have_debts_of_their_own(tier: FaultyTier, clock: FakeClock) -> None:
    debts, memory = Debts(), MemoryTier(1000, clock)
    memory.name = "other"
    debts.add(memory, N, ["cus_1"])
    assert tier in debts.trusted((tier,))
    assert tier.calls == []


@pytest.mark.parametrize("hold", ["", "late@9"])
def test_a_debt_that_grows_while_it_is_paid_stands(tier: FaultyTier, hold: str) -> None:
    """The record is voided for the old debt; another one cannot be told; the old is forgiven."""
    debts = Debts()
    debts.add(tier, N, ["cus_1", "cus_2"])
    tier.after["settle"] = lambda: debts.add(tier, N, ["cus_1"], hold)
    assert tier not in debts.trusted((tier,))
    assert debts.owed(tier) == 1
    assert tier in debts.trusted((tier,))
    assert debts.owed(tier) == 0
