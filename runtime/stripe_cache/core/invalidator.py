"""Telling every tier that records are void: DynamoDB, then Redis, then memory.

The order keeps dead values from climbing: a reader that finds nothing in Redis and the old value in DynamoDB holds a
Redis lease from before it read DynamoDB. As DynamoDB is voided first, whatever old value it read, it read before
Redis is voided, which refuses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stripe_cache.core import metrics, protocol
from stripe_cache.core.errors import InvalidationError, TierError
from stripe_cache.core.outbox import NO_CAUSE, Missed
from stripe_cache.core.ports import NO_HOLD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.debts import Debts
    from stripe_cache.core.descent import Tiers
    from stripe_cache.core.outbox import Cause, Outboxes
    from stripe_cache.core.ports import HoldChange, Meter, Tier

STEP = 50
"""Records voided at once: a tier's deadline is meant for a handful."""


class Invalidator:
    """Voids records in every tier. Thread-safe. `outboxes` keep what a shared tier could not be told."""

    def __init__(self, tiers: Tiers, debts: Debts, meter: Meter, outboxes: Outboxes | None = None) -> None:
        self._tiers = tiers
        self._debts = debts
        self._meter = meter
        self._outboxes = outboxes

    @property
    def memory(self) -> Tier | None:
        """This process's own tier."""
        return self._tiers.memory

    @property
    def shared_names(self) -> tuple[str, ...]:
        """Name the shared tiers, nearest first."""
        return tuple(tier.name for tier in self._tiers.shared)

    def invalidate(
        self, namespace: str, records: Sequence[str], change: HoldChange = NO_HOLD, cause: Cause = NO_CAUSE
    ) -> dict[str, int]:
        """Void the records; return how many each tier was told about.

        Raises InvalidationError when a shared tier could not be told, after having told every other one and having
        put what is left into an outbox, if one takes it (`queued`).

        The beginning of a write (`change` adds a hold) does not ask a tier that is being left alone, and puts nothing
        into an outbox: its end does both, whatever becomes of the tier, because only the end lets anybody say that
        it is done. So a write waits for a dead tier once.
        """
        names = tuple(sorted(set(records)))
        done: dict[str, int] = {}
        failed: dict[str, str] = {}
        if not names:
            return done
        untold: list[str] = []
        is_beginning = bool(change.add)
        # Not by its truth: an empty memory tier has a length of 0.
        own = () if self._tiers.memory is None else (self._tiers.memory,)
        for tier in (*reversed(self._tiers.shared), *own):
            try:
                if is_beginning:
                    _check_not_left_alone(tier)
                for start in range(0, len(names), STEP):
                    protocol.invalidate(tier, namespace, names[start : start + STEP], change)
            except TierError as error:
                failed[tier.name] = str(error)
                self._meter.count(metrics.INVALIDATION_FAILED, len(names), tier=tier.name)
            else:
                done[tier.name] = len(names)
            if failed and tier in self._tiers.shared:
                # Also a tier that was told, if one below was not: it may be filled from there again.
                self._debts.add(tier, namespace, names, change.remove)
                untold.append(tier.name)
        self._meter.count(metrics.INVALIDATION_FAILED if failed else metrics.INVALIDATION, len(names))
        if failed:
            queued = not is_beginning and self._hand_over(Missed(namespace, names, tuple(untold), cause), failed)
            raise InvalidationError(names, done, failed, queued=queued)
        return done

    def postpone(self, namespace: str, records: Sequence[str], cause: Cause = NO_CAUSE) -> bool:
        """Put records that no tier was told about into an outbox; return whether one took them.

        This process does not read the tiers before it has told them itself.
        """
        names = tuple(sorted(set(records)))
        if not names or not self._tiers.shared or self._outboxes is None:
            return not names
        if not self._outboxes.take(Missed(namespace, names, self.shared_names, cause)):
            return False
        for tier in self._tiers.shared:
            self._debts.add(tier, namespace, names)
        if self._tiers.memory is not None:
            protocol.invalidate(self._tiers.memory, namespace, names)
        return True

    def replay(
        self,
        namespace: str,
        records: Sequence[str],
        tiers: Sequence[str],
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Tell the tiers named what they missed, farthest first; False if time ran out before all of it was told.

        Puts nothing into an outbox: it is there already, and stays until this returns True. Raises TierError.
        """
        shared = self._named(tiers)
        own = () if self._tiers.memory is None else (self._tiers.memory,)
        for start in range(0, len(records), STEP):
            if not may_go_on():
                return False
            step = records[start : start + STEP]
            for tier in (*shared, *own):
                protocol.invalidate(tier, namespace, step)
            self._meter.count(metrics.INVALIDATION, len(step))
        return True

    def count_as_told(self, namespace: str, tiers: Sequence[str]) -> None:
        """Count an invalidation of nothing in the tiers named, so that memories elsewhere compare generations.

        For records that were to be void and are there no more: nobody voids them, and a copy may stand on them. Raises
        TierError.
        """
        for tier in self._named(tiers):
            tier.count(namespace, started=1, finished=1)

    def pay_debts(self) -> None:
        """Tell tiers what this process could not tell them before, if they can be reached now; never raises."""
        self._debts.trusted(self._tiers.shared)

    def _named(self, tiers: Sequence[str]) -> list[Tier]:
        """Return the shared tiers of these names, farthest first; raises TierError for one that is not here."""
        shared = [tier for tier in reversed(self._tiers.shared) if tier.name in tiers]
        if unknown := set(tiers).difference(tier.name for tier in shared):
            raise TierError(f"{', '.join(sorted(unknown))}: this process has no such tier, and cannot tell it anything")
        return shared

    def _hand_over(self, missed: Missed, failed: dict[str, str]) -> bool:
        # What this process alone holds in memory is its own affair.
        return bool(missed.tiers) and self._outboxes is not None and self._outboxes.take(missed, failed)


def _check_not_left_alone(tier: Tier) -> None:
    # Only a guard knows. Also when a probe is due: the end of the write is one, and waits for nothing but the tier.
    if getattr(tier, "is_open", False) or getattr(tier, "is_partly_away", False):
        raise TierError(f"{tier.name}: left alone after failures")
