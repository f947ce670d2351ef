from __future__ import annotations

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter

from stripe_cache.core import metrics
from stripe_cache.core.debts import Debts
from stripe_cache.core.errors import InvalidationError
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.core.lookup import Tiers
from stripe_cache.tiers.memory import MemoryTier

N = "acct_1.test"


class Setting:
    """Three tiers, of which the order of being told is kept."""

    def __init__(self, clock: FakeClock, meter: RecordingMeter) -> None:
        self.told: list[str] = []
        self.tiers = {name: self._tier(name, clock) for name in ("memory", "redis", "dynamodb")}
        self.debts = Debts()
        tiers = Tiers(self.tiers["memory"], (self.tiers["redis"], self.tiers["dynamodb"]))
        self.invalidator = Invalidator(tiers, self.debts, meter)

    def _tier(self, name: str, clock: FakeClock) -> FaultyTier:
        memory = MemoryTier(1_000_000, clock)
        memory.name = name
        faulty = FaultyTier(memory)
        faulty.after["void"] = lambda: self.told.append(name)
        return faulty


@pytest.fixture
def setting(clock: FakeClock, meter: RecordingMeter) -> Setting:
    return Setting(clock, meter)


def test_the_farthest_tier_is_told_first_and_memory_last(setting: Setting, meter: RecordingMeter) -> None:
    assert setting.invalidator.invalidate(N, ["cus_1", "cus_2", "cus_1"]) == {"dynamodb": 2, "redis": 2, "memory": 2}
    assert setting.told == ["dynamodb", "redis", "memory"]
    assert meter.total(metrics.INVALIDATION) == 2


@pytest.mark.parametrize("dead", ["redis", "dynamodb"])
def test_one_that_cannot_be_told_does_not_keep_it_from_the_others(
    setting: Setting, meter: RecordingMeter, dead: str
) -> None:
    setting.tiers[dead].kill()
    with pytest.raises(InvalidationError, match=rf"cus_1.*{dead}: .*call it again") as caught:
        setting.invalidator.invalidate(N, ["cus_1"])
    alive = [name for name in ("dynamodb", "redis", "memory") if name != dead]
    assert setting.told == alive
    assert caught.value.done == dict.fromkeys(alive, 1)
    assert list(caught.value.failed) == [dead]
    assert caught.value.records == ("cus_1",)
    assert setting.debts.owed(setting.tiers[dead]) == 1
    assert meter.counts[metrics.INVALIDATION_FAILED, dead] == 1


def test_repeating_it_once_the_tier_is_back_succeeds(setting: Setting) -> None:
    setting.tiers["redis"].kill()
    with pytest.raises(InvalidationError):
        setting.invalidator.invalidate(N, ["cus_1"])
    setting.tiers["redis"].revive()
    assert setting.invalidator.invalidate(N, ["cus_1"])["redis"] == 1


def test_nothing_to_void_asks_nobody(setting: Setting) -> None:
    assert setting.invalidator.invalidate(N, []) == {}
    assert setting.told == []
