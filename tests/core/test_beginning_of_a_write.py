"""A write tells each tier twice, and waits for a dead one once."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter

from stripe_cache.core.debts import Debts
from stripe_cache.core.descent import Tiers
from stripe_cache.core.errors import TierError
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.core.outbox import Missed, Outboxes
from stripe_cache.core.ports import Slot
from stripe_cache.core.writing import Write
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.memory import MemoryTier

if TYPE_CHECKING:
    from collections.abc import Callable

N = "acct_1.test"


class Place:
    """An outbox that takes its time and fails, or keeps."""

    tier = ""

    def __init__(self, wait: Callable[[], None] | None = None) -> None:
        self.wait = wait
        self.kept: list[Missed] = []
        self.asked = 0

    def put(self, missed: Missed) -> None:
        self.asked += 1
        if self.wait is not None:
            self.wait()
            raise TierError("no answer")
        self.kept.append(missed)


@pytest.fixture
def faulty(clock: FakeClock) -> FaultyTier:
    return FaultyTier(MemoryTier(1_000_000, clock), clock)


@pytest.fixture
def guard(faulty: FaultyTier, clock: FakeClock, meter: RecordingMeter) -> GuardedTier:
    return GuardedTier(faulty, 0.1, clock, meter)


def test_a_write_waits_for_a_dead_tier_once_and_is_put_down_once(
    faulty: FaultyTier, guard: GuardedTier, clock: FakeClock, meter: RecordingMeter
) -> None:
    place, debts = Place(), Debts()
    invalidator = Invalidator(Tiers(None, (guard,)), debts, meter, Outboxes([place], clock, meter))
    faulty.kill()
    for _ in range(2):
        guard.read(N, [Slot("a")])
    assert guard.is_open
    for _ in range(3):
        faulty.calls.clear()
        place.kept.clear()
        # Also once a probe is due: the end of the write is one.
        clock.advance(60)
        write = Write(invalidator, N, "post", "https://api.stripe.com/v1/customers/cus_1", b"")
        write.begin(clock.now())
        assert faulty.calls == []
        assert place.kept == []
        assert debts.owed(guard)
        write.end(json.dumps({"id": "cus_1", "object": "customer"}))
        assert len(faulty.calls) == 1
        assert len(place.kept) == 1
    faulty.revive()
    write = Write(invalidator, N, "post", "https://api.stripe.com/v1/customers/cus_1", b"")
    write.begin(clock.now())
    write.end(json.dumps({"id": "cus_1", "object": "customer"}))
    assert not guard.is_open, "the end found the tier well again"


def test_a_tier_that_is_well_holds_the_write_from_its_beginning(
    faulty: FaultyTier, guard: GuardedTier, clock: FakeClock, meter: RecordingMeter
) -> None:
    invalidator = Invalidator(Tiers(None, (guard,)), Debts(), meter)
    Write(invalidator, N, "post", "https://api.stripe.com/v1/customers/cus_1", b"").begin(clock.now())
    (state,) = faulty.touch(N, ["cus_1"], "g", 60)[0]
    assert state.holds


@pytest.mark.parametrize("has_outbox", [True, False])
def test_what_is_said_of_a_write_that_a_tier_misses_is_true_of_its_beginning_and_of_its_end(
    *,
    faulty: FaultyTier,
    guard: GuardedTier,
    clock: FakeClock,
    meter: RecordingMeter,
    caplog: pytest.LogCaptureFixture,
    has_outbox: bool,
) -> None:
    place = Place()
    outboxes = Outboxes([place], clock, meter) if has_outbox else None
    invalidator = Invalidator(Tiers(None, (guard,)), Debts(), meter, outboxes)
    faulty.kill()
    caplog.set_level(logging.INFO, "stripe_cache")
    write = Write(invalidator, N, "post", "https://api.stripe.com/v1/customers/cus_1", b"")
    write.begin(clock.now())
    said = [record for record in caplog.records if "a write" in record.getMessage()]
    assert [(record.levelname, "its end is told" in record.getMessage()) for record in said] == [("INFO", True)]
    caplog.clear()
    write.end(json.dumps({"id": "cus_1", "object": "customer"}))
    (last,) = [record for record in caplog.records if "a write" in record.getMessage()]
    assert last.levelname == "WARNING"
    assert ("and is queued" in last.getMessage(), "nor queued" in last.getMessage()) == (has_outbox, not has_outbox)
    assert bool(place.kept) == has_outbox


def test_an_outbox_that_keeps_a_write_waiting_is_left_alone_at_once(clock: FakeClock, meter: RecordingMeter) -> None:
    silent, well = Place(lambda: clock.advance(0.2)), Place()
    boxes, missed = Outboxes([silent, well], clock, meter), Missed(N, ("cus_1",), ("redis",))
    for _ in range(5):
        assert boxes.take(missed)
    assert silent.asked == 1
    assert len(well.kept) == 5


def test_an_outbox_that_refuses_at_once_gets_another_chance(
    clock: FakeClock, meter: RecordingMeter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    refusing, well = Place(lambda: None), Place()
    boxes, missed = Outboxes([refusing, well], clock, meter), Missed(N, ("cus_1",), ("redis",))
    for _ in range(5):
        assert boxes.take(missed)
    assert refusing.asked == 2
