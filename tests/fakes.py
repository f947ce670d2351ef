"""Stand-ins for the ports of the core: a clock that is moved by hand, a meter that remembers, a tier that fails."""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Tally
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from stripe_cache.core.entry import Entry, Stored
from stripe_cache.core.errors import TierError
from stripe_cache.core.key import Key
from stripe_cache.core.ports import Claim, Counter, Reading, StoreOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.ports import HoldChange, Slot, Stamp, State, Tier

Result = TypeVar("Result")
STEPS = ("read", "touch", "settle", "store", "void", "count", "claim", "release")


class FakeClock:
    """Both clocks, standing still until moved. Starts at the real time, because real servers keep real deadlines."""

    def __init__(self) -> None:
        self.wall = float(int(time.time()))
        self.ticks = 1000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def advance(self, seconds: float) -> None:
        """Let time pass as it does while a process runs."""
        self.wall += seconds
        self.ticks += seconds


class RecordingMeter:
    """Counts what it is told, by metric and tier. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.counts: Tally[tuple[str, str]] = Tally()
        self.types: Tally[tuple[str, str]] = Tally()
        self.observed: list[tuple[str, float]] = []

    def count(self, metric: str, value: float = 1, *, tier: str = "", object_type: str = "") -> None:
        with self._lock:
            self.counts[metric, tier] += int(value)
            self.types[metric, object_type] += int(value)

    def observe(self, metric: str, milliseconds: float, *, tier: str = "", object_type: str = "") -> None:
        del tier, object_type
        with self._lock:
            self.observed.append((metric, milliseconds))

    def total(self, metric: str) -> int:
        """Add up a metric over all tiers."""
        with self._lock:
            return sum(count for (name, _), count in self.counts.items() if name == metric)


class FaultyTier:
    """Another tier with faults: per step it raises, takes its time, loses the step, or lets somebody in between.

    `failing` maps a step to the error it raises before doing anything; `losing` names steps that report success and
    do nothing; `delays` are seconds by which a step moves the clock; `before` and `after` are called around a step.
    """

    def __init__(self, tier: Tier, clock: FakeClock | None = None) -> None:
        self.tier = tier
        self.clock = clock
        self.failing: dict[str, Exception] = {}
        self.losing: set[str] = set()
        self.delays: dict[str, float] = {}
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[], object]] = {}
        self.calls: list[str] = []

    @property
    def name(self) -> str:
        return self.tier.name

    def kill(self) -> None:
        """Make every step fail."""
        self.failing = dict.fromkeys(STEPS, TierError(f"{self.name}: killed by the test"))

    def revive(self) -> None:
        """Make every step work again."""
        self.failing = {}

    def read(self, namespace: str, slots: Sequence[Slot]) -> list[Reading]:
        lost = [Reading(None, None)] * len(slots)
        return self._run("read", lambda: self.tier.read(namespace, slots), lost)

    def touch(self, namespace: str, records: Sequence[str], token: str, ttl: float) -> tuple[list[State], Counter]:
        return self._run("touch", lambda: self.tier.touch(namespace, records, token, ttl), ([], Counter("", 0, 0)))

    def settle(self, namespace: str, generations: Sequence[tuple[str, str]], stamp: Stamp) -> None:
        self._run("settle", lambda: self.tier.settle(namespace, generations, stamp), None)

    def store(self, key: Key, generation: str, stored: Stored, ttl: float) -> StoreOutcome:
        return self._run("store", lambda: self.tier.store(key, generation, stored, ttl), StoreOutcome.STORED)

    def void(self, namespace: str, records: Sequence[str], token: str, change: HoldChange) -> list[str]:
        return self._run("void", lambda: self.tier.void(namespace, records, token, change), [])

    def count(self, namespace: str, *, started: int = 0, finished: int = 0) -> Counter:
        def counted() -> Counter:
            return self.tier.count(namespace, started=started, finished=finished)

        return self._run("count", counted, Counter("lost", 0, 0))

    def claim(self, key: Key, generation: str, token: str, seconds: float) -> Claim:
        return self._run("claim", lambda: self.tier.claim(key, generation, token, seconds), Claim.MINE)

    def release(self, key: Key, generation: str, token: str, seconds: float) -> None:
        self._run("release", lambda: self.tier.release(key, generation, token, seconds), None)

    def _run(self, step: str, work: Callable[[], Result], lost: Result) -> Result:
        self.calls.append(step)
        if self.clock is not None:
            self.clock.advance(self.delays.get(step, 0.0))
        # Taken out first, so that what runs in between may use this tier itself.
        self.before.pop(step, lambda: None)()
        if step in self.failing:
            raise self.failing[step]
        result = lost if step in self.losing else work()
        self.after.pop(step, lambda: None)()
        return result


def key_of(namespace: str, record: str = "cus_1", variant: str = "v1") -> Key:
    """Build a key as the planner would, from made-up parts."""
    return Key.of(namespace, record, variant)


def stored_of(
    body: bytes = b'{"id": "cus_1", "object": "customer"}',
    *,
    now: float | None = None,
    fresh: float = 3600.0,
    stale: float = 3600.0,
    embeds: dict[str, str] | None = None,
) -> Stored:
    """Build a stored value; `embeds` maps records to the generations noted."""
    begun = float(int(time.time())) if now is None else now
    entry = Entry(
        status=200,
        headers=(("content-type", "application/json"), ("request-id", "req_1")),
        body=body,
        fetched_at=begun,
        fresh_until=begun + fresh,
        stale_until=begun + fresh + stale,
        embeds=tuple(embeds or {}),
    )
    return Stored(entry, tuple((embeds or {}).values()))


def eventually(holds: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Wait for other threads until something holds; False if it never does."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


async def until(holds: Callable[[], bool], *tasks: asyncio.Task[Any], seconds: float = 30.0) -> None:
    """Let other coroutines run until something holds that no asyncio event tells of; fails if a task ends before."""
    deadline = time.monotonic() + seconds
    while not holds():
        for task in tasks:
            if task.done():
                raise AssertionError(f"ended early: {task.exception()!r}")
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        await asyncio.sleep(0.001)
