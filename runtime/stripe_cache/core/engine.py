"""The parts of one cache, put together once and handed to whoever speaks to the outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stripe_cache.core.events import affected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from stripe_cache.core.audit import Auditor
    from stripe_cache.core.clock import Clock
    from stripe_cache.core.events import Affected
    from stripe_cache.core.invalidator import Invalidator
    from stripe_cache.core.near import Near
    from stripe_cache.core.plan import Planner
    from stripe_cache.core.ports import Meter
    from stripe_cache.core.read_through import ReadThrough


@dataclass(frozen=True, slots=True)
class Engine:
    """Everything a client or a handler needs of the core."""

    planner: Planner
    reads: ReadThrough
    invalidator: Invalidator
    near: Near
    clock: Clock
    meter: Meter
    auditor: Auditor | None = None

    def invalidate(
        self, records: Sequence[str], *, account: str | None = None, livemode: bool | None = None
    ) -> dict[str, int]:
        """Void records of an account (None: the operator's own) in every mode this cache serves.

        Returns what each tier was told; raises InvalidationError if a shared one could not be told.
        """
        done: dict[str, int] = {}
        for namespace in self.planner.namespaces(account, livemode=livemode):
            for tier, told in self.invalidator.invalidate(namespace, records).items():
                done[tier] = done.get(tier, 0) + told
        return done

    def apply(self, event: Mapping[str, Any]) -> tuple[Affected, dict[str, int]]:
        """Void what an event says has changed; raises NotAnEventError and InvalidationError."""
        found = affected(event)
        return found, self.invalidate(found.records, account=found.account, livemode=found.livemode)
