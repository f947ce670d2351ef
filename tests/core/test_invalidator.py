from __future__ import annotations

import json

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter

from stripe_cache.core import metrics
from stripe_cache.core.debts import Debts
from stripe_cache.core.descent import Tiers
from stripe_cache.core.errors import InvalidationError, TierError
from stripe_cache.core.events import MOST_RECORDS
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.core.outbox import Cause, Missed, Outboxes
from stripe_cache.core.writing import Write
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


class Box:
    """An outbox that remembers, and can be away."""

    tier = "dynamodb"

    def __init__(self) -> None:
        self.kept: list[Missed] = []
        self.away = False

    def put(self, missed: Missed) -> None:
        if self.away:
            raise TierError("away")
        self.kept.append(missed)


@pytest.fixture
def box(setting: Setting, clock: FakeClock, meter: RecordingMeter) -> Box:
    made = Box()
    tiers = Tiers(setting.tiers["memory"], (setting.tiers["redis"], setting.tiers["dynamodb"]))
    setting.invalidator = Invalidator(tiers, setting.debts, meter, Outboxes([made], clock, meter))
    return made


def test_what_a_tier_missed_is_put_down_with_the_tiers_above_it(setting: Setting, box: Box) -> None:
    setting.tiers["redis"].kill()
    with pytest.raises(InvalidationError, match="the rest is queued"):
        setting.invalidator.invalidate(N, ["cus_1"], cause=Cause("evt_1", 1.0))
    assert box.kept == [Missed(N, ("cus_1",), ("redis",), Cause("evt_1", 1.0))]
    setting.tiers["redis"].revive()
    setting.tiers["dynamodb"].kill()
    with pytest.raises(InvalidationError, match="call it again") as caught:
        setting.invalidator.invalidate(N, ["cus_1"])
    assert not caught.value.queued, "the outbox beside the dead tier is not asked"


def test_an_outbox_that_is_away_leaves_the_error_as_it_was(setting: Setting, box: Box) -> None:
    setting.tiers["redis"].kill()
    box.away = True
    with pytest.raises(InvalidationError, match="call it again") as caught:
        setting.invalidator.invalidate(N, ["cus_1"])
    assert not caught.value.queued


def test_what_is_postponed_is_owed_by_this_process_at_once(setting: Setting, box: Box) -> None:
    assert setting.invalidator.postpone(N, ["cus_1", "cus_2"])
    assert box.kept == [Missed(N, ("cus_1", "cus_2"), ("redis", "dynamodb"))]
    assert setting.debts.owed(setting.tiers["redis"]) == setting.debts.owed(setting.tiers["dynamodb"]) == 2
    setting.invalidator.pay_debts()
    assert setting.debts.owed(setting.tiers["redis"]) == 0
    assert "memory" in setting.told, "its own copies are void before the writer returns"
    box.away = True
    assert not setting.invalidator.postpone(N, ["cus_3"])


def test_a_write_whose_answer_names_thousands_voids_what_it_holds_and_postpones_the_rest(
    setting: Setting, box: Box
) -> None:
    items = [{"id": f"si_{number}", "object": "subscription_item"} for number in range(MOST_RECORDS * 2)]
    write = Write(setting.invalidator, N, "post", "https://api.stripe.com/v1/subscriptions/sub_1", b"")
    write.begin(1000.0)
    (state,) = setting.tiers["redis"].touch(N, ["sub_1"], "g", 60)[0]
    assert state.holds
    write.end(json.dumps({"id": "sub_1", "object": "subscription", "items": {"data": items}}))
    (state,) = setting.tiers["redis"].touch(N, ["sub_1"], "g", 60)[0]
    assert not state.holds
    postponed = {name for one in box.kept for name in one.records}
    assert len(postponed) > MOST_RECORDS
    box.away = True
    setting.tiers["redis"].touch(N, ["si_999"], "old", 60)
    write.end(json.dumps({"id": "sub_1", "object": "subscription", "items": {"data": items}}))
    (state,) = setting.tiers["redis"].touch(N, ["si_999"], "g", 60)[0]
    assert state.generation not in {"old", "g"}, "without an outbox the write waits for all of it"
