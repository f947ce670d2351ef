"""Invalidations that a tier could not be told: until it has been, this process reads nothing from that tier.

Other processes do not know of the debt. Whoever called `invalidate` got an InvalidationError and must repeat it or
hand it to a durable queue; this is what keeps a process's own writes readable to itself in the meantime (rule R4).
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from stripe_cache.core import protocol
from stripe_cache.core.errors import TierError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stripe_cache.core.ports import Tier

MOST = 10_000
"""Records owed to one tier beyond which paying is hopeless: the tier stays unread for the life of the process."""


class Debts:
    """What each tier is still owed. Thread-safe; in memory only."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._owed: dict[str, dict[str, set[str]]] = {}

    def add(self, tier: Tier, namespace: str, records: Iterable[str]) -> None:
        """Note that the tier could not be told about these records."""
        with self._lock:
            self._owed.setdefault(tier.name, {}).setdefault(namespace, set()).update(records)

    def owed(self, tier: Tier) -> int:
        """Return the number of records owed."""
        return sum(map(len, self._owed.get(tier.name, {}).values()))

    def is_trusted(self, tier: Tier) -> bool:
        """Tell whether the tier may be read: it is owed nothing, or has just been paid."""
        if tier.name not in self._owed:
            return True
        if self.owed(tier) > MOST:
            return False
        with self._lock:
            owed = self._owed.pop(tier.name, {})
        try:
            for namespace in list(owed):
                # A plain read first: a guard with an open breaker refuses it at once, whereas it lets a void through.
                tier.count(namespace)
                protocol.invalidate(tier, namespace, sorted(owed[namespace]))
                del owed[namespace]
        except TierError:
            for namespace, records in owed.items():
                self.add(tier, namespace, records)
            return False
        return True
