"""Invalidations that a tier could not be told: until it has been, this process reads nothing from that tier.

Other processes do not know of the debt. Whoever called `invalidate` got an InvalidationError and must repeat it or
hand it to a durable queue; this is what keeps a process's own writes readable to itself in the meantime (P3).

A tier that was told is in debt too if one below it was not:
    writer: DynamoDB is down, voids Redis        reader elsewhere: Redis is empty, DynamoDB has the OLD value, copies it
So debts are paid from the lowest tier up, and a tier is not read while one below it still owes.

A debt carries the hold that the invalidation was to take away, or a write that has long been answered would keep its
records from being cached until the hold ends by itself. It never carries a hold to add: paid late, it would put back
what the write's end took away.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from stripe_cache.core import protocol
from stripe_cache.core.errors import TierError
from stripe_cache.core.ports import HoldChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stripe_cache.core.ports import Tier

MOST = 10_000
"""Records owed to one tier beyond which paying is hopeless: the tier stays unread for the life of the process."""
MOST_HOLDS = 100
"""Holds of one namespace that paying takes away, one invalidation each; any others end by themselves.

The first ones count: later writes find the tier away from their beginning and so leave no hold there.
"""


@dataclass(frozen=True, slots=True)
class _Debt:
    number: int
    """Tells a debt from an older one for the same record."""
    holds: tuple[str, ...]


class Debts:
    """What each tier is still owed. Thread-safe; in memory only."""

    def __init__(self) -> None:
        self._lock = Lock()
        # Tier, namespace, record.
        self._owed: dict[str, dict[str, dict[str, _Debt]]] = {}
        self._latest = 0

    def add(self, tier: Tier, namespace: str, records: Iterable[str], hold: str = "") -> None:
        """Note that the tier could not be told about these records, or was told too early.

        `hold` is what the invalidation was to take away from them.
        """
        with self._lock:
            self._latest += 1
            standing = self._owed.setdefault(tier.name, {}).setdefault(namespace, {})
            held = {one for debt in standing.values() for one in debt.holds} if hold else set()
            new = (hold,) if hold and (hold in held or len(held) < MOST_HOLDS) else ()
            for record in records:
                old = standing[record].holds if record in standing else ()
                standing[record] = _Debt(self._latest, tuple(dict.fromkeys((*old, *new))))

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
        # A guard lets every void through, and with a node of a cluster away each reader would wait for it.
        if self.owed(tier) > MOST or getattr(tier, "is_partly_resting", False):
            return False
        with self._lock:
            # A copy: the debt stands until it is paid, or another thread would read from the tier meanwhile.
            owed = {namespace: dict(records) for namespace, records in self._owed.get(tier.name, {}).items()}
        for namespace, records in owed.items():
            try:
                # A plain read first: a guard with an open breaker refuses it at once, whereas it lets a void through.
                tier.count(namespace)
                for hold, held in _by_hold(records):
                    protocol.invalidate(tier, namespace, held, HoldChange(remove=hold))
            except TierError:
                return False
            self._forgive(tier, namespace, records)
        return not self.owed(tier)

    def _forgive(self, tier: Tier, namespace: str, paid: dict[str, _Debt]) -> None:
        with self._lock:
            # Whatever came to be owed while we paid has a higher number, and was perhaps not covered.
            standing = self._owed.get(tier.name, {}).get(namespace, {})
            left = {record: debt for record, debt in standing.items() if paid.get(record) != debt}
            self._owed.setdefault(tier.name, {})[namespace] = left
            if not left:
                del self._owed[tier.name][namespace]
            if not self._owed[tier.name]:
                del self._owed[tier.name]


def _by_hold(records: dict[str, _Debt]) -> list[tuple[str, list[str]]]:
    """Group the records by the holds to be taken away; those without any come first, under an empty name."""
    groups: dict[str, list[str]] = {}
    for record, debt in sorted(records.items()):
        for hold in debt.holds or ("",):
            groups.setdefault(hold, []).append(record)
    return sorted(groups.items())
