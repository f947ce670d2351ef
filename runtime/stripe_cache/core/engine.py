"""The parts of one cache, put together once and handed to whoever speaks to the outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stripe_cache.core.errors import InvalidationError, RequestError
from stripe_cache.core.events import affected
from stripe_cache.core.key import is_label

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

        Returns what each tier was told; raises InvalidationError if a shared one could not be told,
        after every other one was, and RequestError for an account or mode that is none.
        """
        if livemode not in {None, True, False} or not (account is None or is_label(account)):
            raise RequestError(
                f"account {str(account)[:80]!r}, livemode {livemode!r:.80} name no account's cache: give the acct_... "
                "id of a connected account, or None for your own, and True, False or None for both modes"
            )
        done: dict[str, int] = {}
        failed: dict[str, str] = {}
        for namespace in self.planner.namespaces(account, livemode=livemode):
            try:
                told = self.invalidator.invalidate(namespace, records)
            except InvalidationError as error:
                # The other namespaces are told all the same.
                told, failed = error.done, failed | error.failed
            for tier, count in told.items():
                done[tier] = done.get(tier, 0) + count
        if failed:
            raise InvalidationError(tuple(records), done, failed)
        return done

    def apply(self, event: Mapping[str, Any]) -> Affected:
        """Void what an event says has changed, and return it; raises NotAnEventError and InvalidationError."""
        found = affected(event)
        self.invalidate(found.records, account=found.account, livemode=found.livemode)
        return found
