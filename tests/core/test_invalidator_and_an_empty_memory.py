from __future__ import annotations

from typing import TYPE_CHECKING

from stripe_cache.core.debts import Debts
from stripe_cache.core.descent import Tiers
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.core.ports import HoldChange
from stripe_cache.tiers.memory import MemoryTier

if TYPE_CHECKING:
    from fakes import FakeClock, RecordingMeter


def test_a_memory_tier_that_holds_nothing_yet_takes_the_hold_of_a_write(
    clock: FakeClock, meter: RecordingMeter
) -> None:
    # A tier of no records has length 0, and must not pass for no tier.
    memory = MemoryTier(100_000, clock)
    Invalidator(Tiers(memory, ()), Debts(), meter).invalidate("n", ["cus_1"], HoldChange(add="writer@9999999999"))
    (state,), counter = memory.touch("n", ["cus_1"], "token", 60)
    assert state.holds == ("writer@9999999999",)
    assert counter.finished == 1
