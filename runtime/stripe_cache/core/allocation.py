"""How many reads of Stripe this account has made in 30 days, against what Stripe allots.

Stripe allows an account 500 reads per transaction on average over 30 days, and at least 10,000 a month. The count is
kept where processes share it; each also counts in the metric OriginReads, which survives whatever happens to a cache.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from stripe_cache.core.breaker import Breaker
from stripe_cache.core.errors import StripeCacheError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stripe_cache.core.clock import Clock

log = logging.getLogger("stripe_cache")

PER_TRANSACTION = 500
FLOOR = 10_000
DAYS = 30
BATCH_READS = 20
BATCH_SECONDS = 60.0
"""Reads are told to the store this many at a time, or this long after the last time, whichever comes first."""
_DAY = 86400
_MOST = 10_000
_MOST_TOLD = 2 * BATCH_READS
"""Namespaces and days told at once, one write each, while a reader waits; what an outage left behind takes turns."""


class ReadStore(Protocol):
    """Where reads are counted per day, days since the epoch. Each method may raise TierError or ConfigurationError."""

    def add(self, namespace: str, day: int, reads: int) -> None:
        """Add to a day."""
        ...

    def by_day(self, namespace: str, days: Sequence[int]) -> dict[int, int]:
        """Return the counts of those days that have one."""
        ...


@dataclass(frozen=True, slots=True)
class ReadAllocation:
    """Reads of 30 days, today included. `complete` is False when the shared count could not be had."""

    reads: int
    allowance: int
    by_day: Mapping[int, int]
    complete: bool

    @property
    def used(self) -> float:
        """The part of the allowance that is used; above 1 it is exceeded."""
        return self.reads / self.allowance


class Allocation:
    """Counts reads per namespace. Thread-safe.

    With `batched` it tells the store itself; without, somebody else does (the script that takes tokens counts, too).
    """

    def __init__(self, store: ReadStore | None, clock: Clock, *, batched: bool) -> None:
        self._store = store
        self._clock = clock
        self.batched = batched
        self._lock = Lock()
        self._pending: dict[tuple[str, int], int] = {}
        self._since = 0
        self._told_at = clock.monotonic()
        self._breaker = Breaker(clock)

    def tally(self, namespace: str) -> None:
        """Count one read; now and then this tells the store, in one round trip."""
        if not self.batched and self._store is not None:
            return
        with self._lock:
            slot = (namespace, self._today())
            self._pending[slot] = self._pending.get(slot, 0) + 1
            if len(self._pending) > _MOST:
                # Nobody to tell for weeks: the oldest days of the first namespaces go.
                self._pending.pop(next(iter(self._pending)))
            now = self._clock.monotonic()
            self._since += 1
            due = self._since >= BATCH_READS or now - self._told_at >= BATCH_SECONDS
            if self._store is None or not due:
                return
            told, self._pending, self._told_at, self._since = self._pending, {}, now, 0
        self._tell(self._store, told)

    def report(self, namespaces: Sequence[str], transactions: int | None, extra: int = 0) -> ReadAllocation:
        """Add up the last 30 days; `transactions` are those of the same days, `extra` reads not told to the store."""
        today = self._today()
        days = range(today - DAYS + 1, today + 1)
        totals: dict[int, int] = {today: extra} if extra else {}
        complete = self._store is not None
        for namespace in namespaces:
            if self._store is not None:
                try:
                    for day, reads in self._store.by_day(namespace, days).items():
                        totals[day] = totals.get(day, 0) + reads
                except StripeCacheError as error:
                    log.warning("the shared count of reads cannot be had: %s", error)
                    complete = False
            for (other, day), reads in list(self._pending.items()):
                if other == namespace and day in days:
                    totals[day] = totals.get(day, 0) + reads
        allowance = max(FLOOR, PER_TRANSACTION * (transactions or 0))
        return ReadAllocation(sum(totals.values()), allowance, dict(sorted(totals.items())), complete)

    def _tell(self, store: ReadStore, told: dict[tuple[str, int], int]) -> None:
        if self._breaker.admits():
            try:
                for (namespace, day), reads in list(told.items())[:_MOST_TOLD]:
                    store.add(namespace, day, reads)
                    del told[namespace, day]
                self._breaker.succeeded()
            except StripeCacheError:
                # Not one after the other: a reader waits, and each may take as long as this one did.
                self._breaker.failed(was_slow=True)
        with self._lock:
            # What could not be told is told with the next batch, a minute from now.
            for slot, reads in told.items():
                self._pending[slot] = self._pending.get(slot, 0) + reads

    def _today(self) -> int:
        return int(self._clock.now() // _DAY)
