from __future__ import annotations

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fakes import key_of, stored_of
from tier_contract import HOUR, WRAPPERS, Bench, TierContract

from stripe_cache.core.ports import HoldChange, Reading, Slot, StoreOutcome
from stripe_cache.core.protocol import new_token
from stripe_cache.tiers.memory import MemoryTier

if TYPE_CHECKING:
    from fakes import FakeClock, RecordingMeter

MEGABYTE = 1024 * 1024


@pytest.fixture
def memory(clock: FakeClock) -> MemoryTier:
    return MemoryTier(MEGABYTE, clock)


def fill(memory: MemoryTier, record: str, body: bytes, ttl: float = HOUR) -> StoreOutcome:
    (state,), _ = memory.touch("n", [record], new_token(), HOUR)
    return memory.store(key_of("n", record), state.generation, stored_of(body), ttl)


def is_held(memory: MemoryTier, record: str) -> bool:
    return memory.read("n", [Slot(record, key_of("n", record))])[0].stored is not None


class TestContract(TierContract):
    @pytest.fixture(params=WRAPPERS)
    def bench(
        self,
        request: pytest.FixtureRequest,
        namespace: str,
        clock: FakeClock,
        meter: RecordingMeter,
        memory: MemoryTier,
    ) -> Bench:
        def lose(record: str) -> None:
            # The counter goes only when everything goes.
            memory.clear() if record == "#" else memory._records.pop((namespace, record))

        return Bench(memory, namespace, clock, meter, lose).wrapped(request.param)


def test_a_value_is_gone_when_its_time_is_up_and_its_siblings_stay(memory: MemoryTier, clock: FakeClock) -> None:
    (state,), _ = memory.touch("n", ["cus_1"], "t", HOUR)
    for variant, ttl in (("short", 10.0), ("long", 100.0)):
        memory.store(key_of("n", variant=variant), state.generation, stored_of(b"x" * 100), ttl)
    clock.ticks += 10
    size = memory.size
    assert memory.read("n", [Slot("cus_1", key_of("n", variant="short"))]) == [Reading("t", None)]
    assert memory.read("n", [Slot("cus_1", key_of("n", variant="long"))])[0].stored is not None
    assert memory.size < size


def test_the_least_recently_used_record_leaves_first(clock: FakeClock) -> None:
    memory = MemoryTier(40_000, clock)
    for number in range(3):
        fill(memory, f"cus_{number}", bytes(10_000))
    assert is_held(memory, "cus_0")
    fill(memory, "cus_3", bytes(10_000))
    assert [number for number in range(4) if is_held(memory, f"cus_{number}")] == [0, 2, 3]


def test_a_value_larger_than_the_whole_tier_is_too_large_and_evicts_nothing(clock: FakeClock) -> None:
    memory = MemoryTier(20_000, clock)
    fill(memory, "cus_1", b"x")
    assert fill(memory, "cus_2", bytes(30_000)) is StoreOutcome.TOO_LARGE
    assert is_held(memory, "cus_1")


def test_records_that_only_writes_put_there_stay_within_the_bound(clock: FakeClock) -> None:
    memory = MemoryTier(20_000, clock)
    for number in range(500):
        memory.void("n", [f"cus_{number}"], "t", HoldChange(add="w@9"))
    assert memory.size <= 20_000
    assert len(memory) < 40


@pytest.mark.parametrize("embedded", [0, 20], ids=["plain", "embedding"])
@pytest.mark.parametrize("body_bytes", [300, 4_000])
def test_the_bound_holds_for_what_it_really_takes(clock: FakeClock, body_bytes: int, embedded: int) -> None:
    limit = 2 * MEGABYTE
    gc.collect()
    tracemalloc.start()
    try:
        memory = MemoryTier(limit, clock)
        before = tracemalloc.get_traced_memory()[0]
        for number in range(3 * limit // (body_bytes + 1300 + embedded * 160)):
            embeds = {f"prod_{number}_{index:020}": new_token() for index in range(embedded)}
            record = f"cus_{number:024}"
            (state,), _ = memory.touch("n", [record], new_token(), HOUR)
            body = b"%0*d" % (body_bytes, number)
            memory.store(key_of("n", record, new_token()), state.generation, stored_of(body, embeds=embeds), HOUR)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert limit * 0.5 < taken < limit * 1.35
    assert limit * 0.9 < memory.size <= limit


def test_threads_leave_size_and_contents_consistent(clock: FakeClock) -> None:
    memory = MemoryTier(60_000, clock)

    def hammer(seed: int) -> None:
        for step in range(400):
            record = f"cus_{(seed * 7 + step) % 40}"
            if step % 11 == 0:
                memory.void("n", [record], new_token(), HoldChange())
            else:
                fill(memory, record, bytes(500 + step), ttl=1.0)
            is_held(memory, record)
            if step % 50 == 0:
                clock.ticks += 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hammer, range(8)))
    assert memory.size == sum(record.size for record in memory._records.values())
    assert memory.size <= 60_000
    memory.clear()
    assert (memory.size, len(memory)) == (0, 0)
