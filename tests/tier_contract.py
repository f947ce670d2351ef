"""What every tier promises (core/ports.py): one suite, run on each tier bare, guarded and behind FaultyTier.

A tier's own test module derives from TierContract and provides the fixture `bench`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fakes import FakeClock, FaultyTier, RecordingMeter, key_of, stored_of

from stripe_cache.core import metrics
from stripe_cache.core.ports import NO_HOLD, HoldChange, Reading, Slot, Stamp, StoreOutcome
from stripe_cache.core.protocol import MERGED, MOST_HOLDS, SKEW_SECONDS
from stripe_cache.tiers.guarded import GuardedTier

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe_cache.core.key import Key
    from stripe_cache.core.ports import State, Tier

WRAPPERS = ("bare", "guarded", "faultless")
HOUR = 3600.0


@dataclass
class Bench:
    """A tier under test, and ways around it: to lose a record as an eviction would, and to write foreign bytes."""

    bare: Tier
    namespace: str
    clock: FakeClock
    meter: RecordingMeter
    lose: Callable[[str], object]
    plant: Callable[[Key, bytes], object] = lambda _key, _data: None
    tier: Tier = None  # type: ignore[assignment]  # set by wrapped()

    def wrapped(self, how: str) -> Bench:
        """Put the tier behind a guard or a fault double without faults."""
        wrappers: dict[str, Callable[[], Tier]] = {
            "bare": lambda: self.bare,
            "guarded": lambda: GuardedTier(self.bare, 60.0, self.clock, self.meter),
            "faultless": lambda: FaultyTier(self.bare, self.clock),
        }
        self.tier = wrappers[how]()
        return self

    def key(self, record: str = "cus_1", variant: str = "v1") -> Key:
        return key_of(self.namespace, record, variant)

    def touch(self, *records: str, token: str = "t1") -> list[State]:
        return self.tier.touch(self.namespace, list(records), token, HOUR)[0]

    def read(self, record: str = "cus_1", variant: str = "v1") -> Reading:
        return self.tier.read(self.namespace, [Slot(record, self.key(record, variant))])[0]

    def fill(self, record: str = "cus_1", variant: str = "v1", body: bytes = b'{"n": 1}') -> StoreOutcome:
        """Touch and store, as a miss does."""
        (state,) = self.touch(record)
        value = stored_of(body, now=self.clock.now())
        return self.tier.store(self.key(record, variant), state.generation, value, HOUR)

    def void(self, *records: str, token: str = "t2", change: HoldChange = NO_HOLD) -> list[str]:
        return self.tier.void(self.namespace, list(records), token, change)

    def hold(self, token: str, lasts: float = 900.0) -> str:
        return f"{token}@{int(self.clock.now() + lasts)}"

    def holds(self, record: str = "cus_1") -> set[str]:
        return {*self.touch(record)[0].holds}


class TierContract:
    """The suite. Every test starts in a namespace that has nothing in it."""

    def test_a_slot_never_touched_is_absent(self, bench: Bench) -> None:
        assert bench.read() == Reading(None, None)
        assert bench.tier.read(bench.namespace, [Slot("cus_1")]) == [Reading(None, None)]

    def test_reading_no_slots_returns_nothing(self, bench: Bench) -> None:
        assert bench.tier.read(bench.namespace, []) == []

    def test_touching_an_absent_record_creates_it_unsettled_under_the_token(self, bench: Bench) -> None:
        (state,) = bench.touch("cus_1", token="mine")
        assert (state.generation, state.stamp, state.holds) == ("mine", None, ())
        assert bench.read() == Reading("mine", None)

    def test_touching_again_keeps_the_generation(self, bench: Bench) -> None:
        bench.touch("cus_1", token="first")
        assert bench.touch("cus_1", token="second")[0].generation == "first"

    def test_touching_several_records_answers_in_their_order(self, bench: Bench) -> None:
        bench.touch("cus_2", token="old")
        states = bench.touch("cus_1", "cus_2", "cus_3", token="new")
        assert [state.generation for state in states] == ["new", "old", "new"]

    def test_a_stored_value_is_read_back_whole(self, bench: Bench) -> None:
        (state,) = bench.touch("cus_1")
        value = stored_of(b'{"n": "\xc3\xa4"}' * 100, now=bench.clock.now(), embeds={"prod_1": "g1", "prod_2": "g2"})
        assert bench.tier.store(bench.key(), state.generation, value, HOUR) is StoreOutcome.STORED
        assert bench.read() == Reading(state.generation, value)

    def test_several_variants_live_side_by_side_and_a_new_fill_replaces_its_own_only(self, bench: Bench) -> None:
        for variant, body in (("v1", b"1"), ("v2", b"2"), ("v1", b"3")):
            assert bench.fill(variant=variant, body=body) is StoreOutcome.STORED
        bodies = [reading.stored.entry.body for v in ("v1", "v2") if (reading := bench.read(variant=v)).stored]
        assert bodies == [b"3", b"2"]
        assert bench.read(variant="v3").stored is None

    def test_reading_many_slots_keeps_their_order_with_present_absent_and_repeated_ones(self, bench: Bench) -> None:
        for number in (1, 3):
            bench.fill(f"cus_{number}", body=b"%d" % number)
        wanted = ["cus_3", "cus_2", "cus_1", "cus_3"]
        readings = bench.tier.read(bench.namespace, [Slot(record, bench.key(record)) for record in wanted])
        bodies = [reading.stored.entry.body if reading.stored else None for reading in readings]
        assert bodies == [b"3", None, b"1", b"3"]
        assert readings[1] == Reading(None, None)

    def test_slots_without_a_key_read_the_generation_only(self, bench: Bench) -> None:
        bench.fill("cus_1")
        slots = [Slot("cus_1"), Slot("cus_2"), Slot("cus_1", bench.key())]
        bare, absent, full = bench.tier.read(bench.namespace, slots)
        assert bare == Reading("t1", None)
        assert absent == Reading(None, None)
        assert full.stored is not None

    def test_over_a_hundred_slots_are_read_at_once(self, bench: Bench) -> None:
        records = [f"cus_{number}" for number in range(130)]
        bench.fill(records[7])
        bench.fill(records[120])
        readings = bench.tier.read(bench.namespace, [Slot(record, bench.key(record)) for record in records])
        assert [index for index, reading in enumerate(readings) if reading.stored] == [7, 120]

    def test_storing_on_an_absent_record_is_refused(self, bench: Bench) -> None:
        value = stored_of(now=bench.clock.now())
        assert bench.tier.store(bench.key(), "t1", value, HOUR) is StoreOutcome.REFUSED
        assert bench.read() == Reading(None, None)

    def test_storing_after_a_void_is_refused_and_the_old_value_is_gone(self, bench: Bench) -> None:
        bench.fill()
        (state,) = bench.touch("cus_1")
        assert bench.void("cus_1", token="t2") == ["cus_1"]
        value = stored_of(now=bench.clock.now())
        assert bench.tier.store(bench.key(), state.generation, value, HOUR) is StoreOutcome.REFUSED
        assert bench.read() == Reading("t2", None)

    def test_storing_after_the_generation_was_lost_and_made_anew_is_refused(self, bench: Bench) -> None:
        (state,) = bench.touch("cus_1", token="before")
        bench.lose("cus_1")
        bench.touch("cus_1", token="after")
        value = stored_of(now=bench.clock.now())
        assert bench.tier.store(bench.key(), state.generation, value, HOUR) is StoreOutcome.REFUSED

    def test_a_void_drops_every_variant_and_the_stamp(self, bench: Bench) -> None:
        bench.fill(variant="v1")
        bench.fill(variant="v2")
        bench.tier.settle(bench.namespace, [("cus_1", "t1")], Stamp("e", 4))
        bench.void("cus_1", token="t2")
        assert bench.read(variant="v1").stored is bench.read(variant="v2").stored is None
        assert bench.touch("cus_1")[0].stamp is None

    def test_voiding_an_absent_record_keeps_it_absent(self, bench: Bench) -> None:
        bench.touch("cus_2")
        assert bench.void("cus_1", "cus_2", token="t2") == ["cus_2"]
        assert bench.read() == Reading(None, None)

    def test_voiding_an_absent_record_with_a_hold_creates_it(self, bench: Bench) -> None:
        hold = bench.hold("w")
        assert bench.void("cus_1", token="t2", change=HoldChange(add=hold)) == ["cus_1"]
        (state,) = bench.touch("cus_1")
        assert (state.generation, state.holds) == ("t2", (hold,))

    def test_holds_are_added_and_removed_one_by_one_and_outlive_other_voids(self, bench: Bench) -> None:
        one, other = bench.hold("a"), bench.hold("b")
        bench.void("cus_1", token="t1", change=HoldChange(add=one))
        bench.void("cus_1", token="t2", change=HoldChange(add=other))
        bench.void("cus_1", token="t3")
        assert bench.holds() == {one, other}
        bench.void("cus_1", token="t4", change=HoldChange(remove=one))
        assert bench.holds() == {other}
        bench.void("cus_1", token="t5", change=HoldChange(remove=other))
        assert bench.holds() == set()

    def test_removing_a_hold_that_is_not_there_changes_nothing_else(self, bench: Bench) -> None:
        hold = bench.hold("a")
        bench.void("cus_1", token="t1", change=HoldChange(add=hold))
        bench.void("cus_1", token="t2", change=HoldChange(remove="other@9"))
        assert bench.holds() == {hold}

    def test_holds_that_have_ended_on_every_clock_go_with_the_next_write(self, bench: Bench) -> None:
        """Writers that die, or get no answer, leave theirs behind: a busy collection would grow for ever."""
        ended = [bench.hold(f"e{number}", -SKEW_SECONDS - 60) for number in range(5)]
        just = bench.hold("j", 60 - SKEW_SECONDS)
        for hold in (*ended, just, "theirs"):
            bench.void("cus_1", change=HoldChange(add=hold))
        mine = bench.hold("m")
        bench.void("cus_1", change=HoldChange(add=mine))
        assert bench.holds() == {just, "theirs", mine}, "where a clock is behind, one that has just ended still stands"
        bench.void("cus_1", change=HoldChange(remove=mine))
        assert bench.holds() == {just, "theirs"}

    def test_a_hold_is_added_even_by_whose_clock_is_far_behind(self, bench: Bench) -> None:
        hold = bench.hold("late", -2 * SKEW_SECONDS)
        bench.void("cus_1", change=HoldChange(add=hold))
        assert bench.holds() == {hold}

    def test_too_many_holds_become_one_that_lasts_as_long_as_the_longest(self, bench: Bench) -> None:
        holds = [bench.hold(f"w{number}", 100 + number) for number in range(MOST_HOLDS)]
        for hold in holds:
            bench.void("cus_1", change=HoldChange(add=hold))
        assert bench.holds() == {*holds}
        last = bench.hold("last", 50)
        bench.void("cus_1", token="t9", change=HoldChange(add=last))
        merged = bench.hold(MERGED, 99 + MOST_HOLDS)
        assert bench.holds() == {merged}
        assert bench.touch("cus_1")[0].generation == "t9"
        bench.void("cus_1", change=HoldChange(remove=last))
        assert bench.holds() == {merged}, "nobody takes it away: it ends by itself"
        another = bench.hold("x")
        bench.void("cus_1", change=HoldChange(add=another))
        assert bench.holds() == {merged, another}

    def test_only_the_same_generation_is_settled_and_only_once(self, bench: Bench) -> None:
        bench.touch("cus_1", token="t1")
        bench.tier.settle(bench.namespace, [("cus_1", "other"), ("cus_2", "t1")], Stamp("e", 3))
        assert bench.touch("cus_1")[0].stamp is None
        bench.tier.settle(bench.namespace, [("cus_1", "t1")], Stamp("e", 4))
        bench.tier.settle(bench.namespace, [("cus_1", "t1")], Stamp("e", 5))
        assert bench.touch("cus_1")[0].stamp == Stamp("e", 4)

    def test_settling_an_absent_record_does_not_create_it(self, bench: Bench) -> None:
        bench.tier.settle(bench.namespace, [("cus_1", "t1")], Stamp("e", 3))
        assert bench.read() == Reading(None, None)

    def test_the_counter_adds_up_within_an_epoch_and_touch_returns_it(self, bench: Bench) -> None:
        first = bench.tier.count(bench.namespace)
        assert (first.started, first.finished) == (0, 0)
        assert first.epoch
        bench.tier.count(bench.namespace, started=1)
        last = bench.tier.count(bench.namespace, finished=1)
        assert last == (first.epoch, 1, 1)
        assert bench.tier.touch(bench.namespace, ["cus_1"], "t1", HOUR)[1] == last

    def test_a_counter_that_was_lost_begins_another_epoch(self, bench: Bench) -> None:
        before = bench.tier.count(bench.namespace, started=5)
        bench.lose("#")
        after = bench.tier.count(bench.namespace, started=1)
        assert after.epoch != before.epoch
        assert after.started == 1

    def test_namespaces_do_not_see_each_other(self, bench: Bench) -> None:
        bench.fill()
        other = f"x{bench.namespace}"
        assert bench.tier.read(other, [Slot("cus_1", key_of(other))]) == [Reading(None, None)]
        bench.tier.void(other, ["cus_1"], "t9", NO_HOLD)
        bench.tier.count(other, started=1)
        assert bench.read().stored is not None
        assert bench.tier.count(bench.namespace).started == 0

    def test_threads_lose_no_count_and_agree_on_one_generation(self, bench: Bench) -> None:
        def work(number: int) -> str:
            bench.tier.count(bench.namespace, started=1, finished=1)
            return bench.touch("cus_1", token=f"t{number}")[0].generation

        with ThreadPoolExecutor(4) as pool:
            generations = set(pool.map(work, range(16)))
        assert len(generations) == 1
        assert bench.tier.count(bench.namespace)[1:] == (16, 16)


class ByteTierContract(TierContract):
    """The suite for tiers that keep bytes, which somebody else may have written."""

    def test_foreign_bytes_are_a_miss_that_is_counted_and_overwritten(self, bench: Bench) -> None:
        bench.fill(variant="other")
        for foreign in (b"", b"not ours", b"SC\x01" + bytes(200), b"SC\x02" + bytes(70)):
            before = bench.meter.counts[metrics.CORRUPT_ENTRY, bench.tier.name]
            bench.plant(bench.key(), foreign)
            assert bench.read() == Reading("t1", None)
            assert bench.meter.counts[metrics.CORRUPT_ENTRY, bench.tier.name] == before + 1
            assert bench.read(variant="other").stored is not None
            assert bench.fill(body=b"good") is StoreOutcome.STORED
            assert (stored := bench.read().stored) is not None
            assert stored.entry.body == b"good"
