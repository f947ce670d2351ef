"""Telling every tier that records are void: DynamoDB, then Redis, then memory.

The order keeps dead values from climbing: a reader that finds nothing in Redis and the old value in DynamoDB holds a
Redis lease from before it read DynamoDB. As DynamoDB is voided first, whatever old value it read, it read before
Redis is voided, which refuses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stripe_cache.core import metrics, protocol
from stripe_cache.core.errors import InvalidationError, TierError
from stripe_cache.core.ports import NO_HOLD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_cache.core.debts import Debts
    from stripe_cache.core.lookup import Tiers
    from stripe_cache.core.ports import HoldChange, Meter, Tier


class Invalidator:
    """Voids records in every tier. Thread-safe."""

    def __init__(self, tiers: Tiers, debts: Debts, meter: Meter) -> None:
        self._tiers = tiers
        self._debts = debts
        self._meter = meter

    @property
    def memory(self) -> Tier | None:
        """This process's own tier."""
        return self._tiers.memory

    def invalidate(self, namespace: str, records: Sequence[str], change: HoldChange = NO_HOLD) -> dict[str, int]:
        """Void the records; return how many each tier was told about.

        Raises InvalidationError when a shared tier could not be told, after having told every other one.
        """
        names = tuple(sorted(set(records)))
        done: dict[str, int] = {}
        failed: dict[str, str] = {}
        if not names:
            return done
        # Not by its truth: an empty memory tier has a length of 0.
        own = () if self._tiers.memory is None else (self._tiers.memory,)
        for tier in (*reversed(self._tiers.shared), *own):
            try:
                protocol.invalidate(tier, namespace, names, change)
            except TierError as error:
                failed[tier.name] = str(error)
                self._meter.count(metrics.INVALIDATION_FAILED, len(names), tier=tier.name)
            else:
                done[tier.name] = len(names)
            if failed and tier in self._tiers.shared:
                # Also a tier that was told, if one below was not: it may be filled from there again.
                self._debts.add(tier, namespace, names)
        self._meter.count(metrics.INVALIDATION_FAILED if failed else metrics.INVALIDATION, len(names))
        if failed:
            raise InvalidationError(names, done, failed)
        return done
