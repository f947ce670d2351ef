"""Invalidations that a tier could not be told: until it has been, this process reads nothing from that tier.

Other processes do not know of the debt. Whoever called `invalidate` got an InvalidationError and must repeat it or
hand it to a durable queue; this is what keeps a process's own writes readable to itself in the meantime (rule R4).

A tier that was told is in debt too if one below it was not:
    writer: DynamoDB is down, voids Redis        reader elsewhere: Redis is empty, DynamoDB has the OLD value, copies it
So debts are paid from the lowest tier up, and a tier is not read while one below it still owes.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from stripe_cache.core import protocol
from stripe_cache.core.errors import TierError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stripe_cache.core.ports import Tier

MOST = 10_000
"""Records owed to one tier beyond which paying is hopeless: the tier stays unread for the life of the process."""


class Debts:
    """What each tier is still owed. Thread-safe; in memory only."""

    def __init__(self) -> None:
        self._lock = Lock()
        # Tier, namespace, record; the number tells a debt from an older one for the same record.
        self._owed: dict[str, dict[str, dict[str, int]]] = {}
        self._latest = 0

    def add(self, tier: Tier, namespace: str, records: Iterable[str]) -> None:
        """Note that the tier could not be told about these records, or was told too early."""
        with self._lock:
            self._latest += 1
            self._owed.setdefault(tier.name, {}).setdefault(namespace, {}).update(dict.fromkeys(records, self._latest))

    def owed(self, tier: Tier) -> int:
        """Return the number of records owed."""
        with self._lock:
            return sum(map(len, self._owed.get(tier.name, {}).values()))

    def trusted(self, shared: Sequence[Tier]) -> Sequence[Tier]:
        """Return the tiers that may be read, of all shared ones, nearest first: they are owed nothing, or just paid."""
        if not self._owed:
            return shared
        found: list[Tier] = []
        for tier in reversed(shared):
            if self.owed(tier) and not self._pay(tier):
                # What lies above may be filled from here: it is neither paid before nor read.
                return [upper for upper in shared[: shared.index(tier)] if not self.owed(upper)] + found
            found.insert(0, tier)
        return found

    def _pay(self, tier: Tier) -> bool:
        """Tell the tier what it is owed; return whether it is owed nothing any more."""
        if self.owed(tier) > MOST:
            return False
        with self._lock:
            # A copy: the debt stands until it is paid, or another thread would read from the tier meanwhile.
            owed = {namespace: dict(records) for namespace, records in self._owed.get(tier.name, {}).items()}
        for namespace, records in owed.items():
            try:
                # A plain read first: a guard with an open breaker refuses it at once, whereas it lets a void through.
                tier.count(namespace)
                protocol.invalidate(tier, namespace, sorted(records))
            except TierError:
                return False
            self._forgive(tier, namespace, records)
        return not self.owed(tier)

    def _forgive(self, tier: Tier, namespace: str, paid: dict[str, int]) -> None:
        with self._lock:
            # Whatever came to be owed while we paid has a higher number, and was perhaps not covered.
            standing = self._owed.get(tier.name, {}).get(namespace, {})
            left = {record: number for record, number in standing.items() if paid.get(record) != number}
            self._owed.setdefault(tier.name, {})[namespace] = left
            if not left:
                del self._owed[tier.name][namespace]
            if not self._owed[tier.name]:
                del self._owed[tier.name]
