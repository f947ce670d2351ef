"""The memory tier: a process's own bounded LRU, and a full tier when it is the only one.

Its promise to other processes (P5 of docs/consistency.md) is not made here but in `core/near.py`: a copy of something
that a shared tier vouches for is served only while that tier's counter, or its generations, say so.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING

from stripe_cache.core.ports import Claim, Counter, Reading, State, StoreOutcome
from stripe_cache.core.protocol import is_held, kept_holds, new_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.entry import Stored
    from stripe_cache.core.key import Key
    from stripe_cache.core.ports import HoldChange, Slot, Stamp

_RECORD_BYTES = 600
_VALUE_BYTES = 700
"""What a record and a value cost beside their own bytes on CPython 3.11: objects, dict slots, tuples (tracemalloc)."""


@dataclass(slots=True)
class _Record:
    generation: str
    stamp: Stamp | None = None
    holds: tuple[str, ...] = ()
    values: dict[str, tuple[Stored, float]] = field(default_factory=dict)
    size: int = _RECORD_BYTES


class MemoryTier:
    """Keeps values in this process, the least recently used records leaving first. Thread-safe.

    `max_bytes` bounds an estimate of what it really takes, bodies and Python's overhead included.
    """

    name = "memory"

    def __init__(self, max_bytes: int, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = RLock()
        self._records: OrderedDict[tuple[str, str], _Record] = OrderedDict()
        self._counters: dict[str, Counter] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """The estimated bytes in use."""
        return self._size

    def __len__(self) -> int:
        return len(self._records)

    def read(self, namespace: str, slots: Sequence[Slot]) -> list[Reading]:
        """Read without any I/O; a read makes its record the most recently used."""
        now = self._clock.monotonic()
        readings = []
        with self._lock:
            for record, key in slots:
                place = (namespace, record)
                held = self._records.get(place)
                if held is None:
                    readings.append(Reading(None, None))
                    continue
                self._records.move_to_end(place)
                value = held.values.get(key.variant) if key else None
                if value is not None and key and value[1] <= now:
                    self._drop(held, key.variant)
                    value = None
                readings.append(Reading(held.generation, value[0] if value else None))
        return readings

    def touch(self, namespace: str, records: Sequence[str], token: str, ttl: float) -> tuple[list[State], Counter]:
        """Return the records' states, making what is absent.

        Nothing here expires by time but values: `ttl` is not needed.
        """
        del ttl
        with self._lock:
            held = [self._ensure(namespace, record, token) for record in records]
            states = [State(one.generation, one.stamp, one.holds) for one in held]
            # A namespace of more records than fit evicts some that were just touched: their generation is lost, which
            # refuses the fill that asked. Nothing else follows from it.
            self._evict()
            return states, self.count(namespace)

    def settle(self, namespace: str, generations: Sequence[tuple[str, str]], stamp: Stamp) -> None:
        """Stamp generations that still stand unsettled."""
        with self._lock:
            for record, generation in generations:
                held = self._records.get((namespace, record))
                if held and held.generation == generation and held.stamp is None:
                    held.stamp = stamp

    def store(self, key: Key, generation: str, stored: Stored, ttl: float) -> StoreOutcome:
        """Keep the value if the record's generation still stands and the value can fit at all."""
        size = _VALUE_BYTES + _size_of(stored)
        with self._lock:
            held = self._records.get((key.namespace, key.record))
            if held is None or held.generation != generation:
                return StoreOutcome.REFUSED
            if size + _RECORD_BYTES > self._max_bytes:
                return StoreOutcome.TOO_LARGE
            self._drop(held, key.variant)
            held.values[key.variant] = (stored, self._clock.monotonic() + ttl)
            held.size += size
            self._size += size
            self._records.move_to_end((key.namespace, key.record))
            self._evict()
            return StoreOutcome.STORED

    def void(self, namespace: str, records: Sequence[str], token: str, change: HoldChange) -> list[str]:
        """Replace generations and drop values."""
        with self._lock:
            if change.add:
                for record in records:
                    self._ensure(namespace, record, token)
            present = [record for record in records if (namespace, record) in self._records]
            for record in present:
                held = self._records[namespace, record]
                self._size -= held.size - _RECORD_BYTES
                holds = kept_holds(held.holds, change, self._clock.now())
                self._records[namespace, record] = _Record(token, None, tuple(sorted(holds)))
            # A process that only writes touches and stores nothing, so nobody else would ever evict for it.
            self._evict()
            return present

    def count(self, namespace: str, *, started: int = 0, finished: int = 0) -> Counter:
        """Add to the counter; in a process's memory an epoch ends with the process."""
        with self._lock:
            old = self._counters.get(namespace) or Counter(new_token(), 0, 0)
            new = Counter(old.epoch, old.started + started, old.finished + finished)
            self._counters[namespace] = new
            return new

    def claim(self, key: Key, generation: str, token: str, seconds: float) -> Claim:
        """Grant every claim: within one process, flights see to it that only one caller asks."""
        del key, generation, token, seconds
        return Claim.MINE

    def release(self, key: Key, generation: str, token: str, seconds: float) -> None:
        """Do nothing: no claim is kept."""

    def contents(self, namespace: str) -> dict[str, list[Stored]]:
        """Return every record of a namespace with the values it holds."""
        with self._lock:
            return {
                record: [stored for stored, _ in held.values.values()]
                for (owner, record), held in self._records.items()
                if owner == namespace
            }

    def forget(self, namespace: str, records: Sequence[str]) -> tuple[str, ...]:
        """Drop records as an eviction would, and return those that stay because of a write in flight."""
        busy = []
        with self._lock:
            for record in records:
                held = self._records.get((namespace, record))
                if held is not None and is_held(State(held.generation, held.stamp, held.holds), self._clock.now()):
                    busy.append(record)
                elif held is not None:
                    del self._records[namespace, record]
                    self._size -= held.size
        return tuple(busy)

    def clear(self) -> None:
        """Forget everything, as a flush would."""
        with self._lock:
            self._records.clear()
            self._counters.clear()
            self._size = 0

    def _ensure(self, namespace: str, record: str, token: str) -> _Record:
        held = self._records.get((namespace, record))
        if held is None:
            held = self._records[namespace, record] = _Record(token)
            self._size += _RECORD_BYTES
        else:
            self._records.move_to_end((namespace, record))
        return held

    def _drop(self, held: _Record, variant: str) -> None:
        value = held.values.pop(variant, None)
        if value is not None:
            size = _VALUE_BYTES + _size_of(value[0])
            held.size -= size
            self._size -= size

    def _evict(self) -> None:
        while self._size > self._max_bytes and self._records:
            _, evicted = self._records.popitem(last=False)
            self._size -= evicted.size


def _size_of(stored: Stored) -> int:
    return len(stored.entry.body) + sum(len(name) + 60 for name in stored.entry.embeds) * 2
