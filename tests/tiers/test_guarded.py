from __future__ import annotations

import logging

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter, key_of, stored_of

from stripe_cache.core import metrics
from stripe_cache.core.breaker import FIRST_PAUSE
from stripe_cache.core.errors import TableError, TierBusyError, TierError
from stripe_cache.core.ports import NO_HOLD, Reading, Slot, Stamp
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.memory import MemoryTier

N = "acct_1.test"


@pytest.fixture
def faulty(clock: FakeClock) -> FaultyTier:
    return FaultyTier(MemoryTier(1_000_000, clock), clock)


@pytest.fixture
def guard(faulty: FaultyTier, clock: FakeClock, meter: RecordingMeter) -> GuardedTier:
    return GuardedTier(faulty, 0.1, clock, meter)


@pytest.mark.parametrize("error", [TierError("x"), ValueError("x"), RuntimeError("x"), MemoryError("x")])
def test_a_failed_read_is_a_miss_and_counted(
    guard: GuardedTier, faulty: FaultyTier, meter: RecordingMeter, error: Exception
) -> None:
    faulty.failing["read"] = error
    assert guard.read(N, [Slot("a"), Slot("b")]) == [Reading(None, None)] * 2
    assert meter.counts[metrics.TIER_ERROR, "memory"] == 1


def test_every_other_step_raises_a_tier_error_whatever_went_wrong(guard: GuardedTier, faulty: FaultyTier) -> None:
    faulty.failing = dict.fromkeys(("touch", "settle", "store", "void", "count"), ValueError("boom"))
    steps = [
        lambda: guard.void(N, ["a"], "t", NO_HOLD),
        lambda: guard.count(N, started=1),
        lambda: guard.touch(N, ["a"], "t", 9),
        lambda: guard.settle(N, [("a", "t")], Stamp("e", 1)),
        lambda: guard.store(key_of(N), "t", stored_of(), 9),
    ]
    for step in steps:
        with pytest.raises(TierError):
            step()


def test_a_sick_tier_is_left_alone_and_costs_no_call(
    guard: GuardedTier, faulty: FaultyTier, meter: RecordingMeter
) -> None:
    faulty.kill()
    for _ in range(10):
        guard.read(N, [Slot("a")])
    assert len(faulty.calls) == 2
    assert guard.is_open
    assert meter.counts[metrics.TIER_OPEN, "memory"] == 1
    with pytest.raises(TierError, match="left alone"):
        guard.touch(N, ["a"], "t", 9)


def test_a_tier_that_is_well_again_is_used_again(guard: GuardedTier, faulty: FaultyTier, clock: FakeClock) -> None:
    faulty.kill()
    for _ in range(3):
        guard.read(N, [Slot("a")])
    faulty.revive()
    clock.advance(FIRST_PAUSE)
    guard.touch(N, ["a"], "t", 9)
    assert not guard.is_open
    assert guard.read(N, [Slot("a")]) == [Reading("t", None)]


def test_threads_of_our_own_in_the_way_neither_open_nor_close_it(
    guard: GuardedTier, faulty: FaultyTier, clock: FakeClock, meter: RecordingMeter
) -> None:
    faulty.failing["read"] = TierBusyError("busy")
    for _ in range(5):
        guard.read(N, [Slot("a")])
    assert not guard.is_open
    assert meter.counts[metrics.TIER_ERROR, "memory"] == 5
    faulty.kill()
    for _ in range(2):
        guard.read(N, [Slot("a")])
    faulty.revive()
    faulty.failing = {"read": TierBusyError("busy")}
    clock.advance(FIRST_PAUSE)
    guard.read(N, [Slot("a")])
    assert guard.is_open, "the probe has learnt nothing"


def test_an_invalidation_is_tried_even_while_the_tier_is_left_alone(guard: GuardedTier, faulty: FaultyTier) -> None:
    faulty.kill()
    for _ in range(3):
        guard.read(N, [Slot("a")])
    faulty.revive()
    assert guard.count(N, started=1).started == 1
    assert guard.void(N, ["a"], "t", NO_HOLD) == []
    faulty.kill()
    with pytest.raises(TierError):
        guard.void(N, ["a"], "t", NO_HOLD)


def test_an_answer_that_came_too_late_is_used_and_counts_as_a_failure(
    guard: GuardedTier, faulty: FaultyTier, meter: RecordingMeter
) -> None:
    faulty.tier.touch(N, ["a"], "t", 9)
    faulty.delays["read"] = 0.2
    assert guard.read(N, [Slot("a")]) == [Reading("t", None)]
    assert meter.counts[metrics.TIER_ERROR, "memory"] == 1
    assert guard.is_open


def test_a_failure_that_took_its_time_opens_it_at_once(guard: GuardedTier, faulty: FaultyTier) -> None:
    faulty.kill()
    faulty.delays["read"] = 0.09
    guard.read(N, [Slot("a")])
    assert guard.is_open


def test_a_wrong_table_is_complained_about_once(
    guard: GuardedTier, faulty: FaultyTier, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    faulty.failing["read"] = TableError("DynamoDB has no table 'x' here: deploy it")
    with caplog.at_level(logging.ERROR, "stripe_cache"):
        for _ in range(4):
            guard.read(N, [Slot("a")])
            clock.advance(60)
    assert [record.message for record in caplog.records] == [
        "the memory tier is out of use: DynamoDB has no table 'x' here: deploy it"
    ]
