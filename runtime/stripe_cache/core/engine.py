"""The parts of one cache, put together once and handed to whoever speaks to the outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stripe_cache.core.errors import InvalidationError, RequestError
from stripe_cache.core.events import affected
from stripe_cache.core.key import is_label, livemode_of
from stripe_cache.core.origin import OriginCall
from stripe_cache.core.outbox import NO_CAUSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from stripe_cache.core.audit import Auditor
    from stripe_cache.core.clock import Clock
    from stripe_cache.core.events import Affected
    from stripe_cache.core.heat import Heat
    from stripe_cache.core.invalidator import Invalidator
    from stripe_cache.core.near import Near
    from stripe_cache.core.origin import OriginGate
    from stripe_cache.core.outbox import Cause
    from stripe_cache.core.plan import Plan, Planner, Request
    from stripe_cache.core.ports import Meter
    from stripe_cache.core.read_through import ReadThrough
    from stripe_cache.core.seen import Seen


@dataclass(frozen=True, slots=True)
class Engine:
    """Everything a client or a handler needs of the core."""

    planner: Planner
    reads: ReadThrough
    invalidator: Invalidator
    near: Near
    clock: Clock
    meter: Meter
    gate: OriginGate
    auditor: Auditor | None = None
    seen: Seen | None = None
    heat: Heat | None = None
    read_only: bool = False
    """Whether this process may change no shared tier, and therefore must change nothing at Stripe."""
    warm: Callable[[], None] = lambda: None
    """Makes what is otherwise made on first use and takes long to make."""

    def origin_call(
        self,
        request: Request,
        plan: Plan | None,
        *,
        critical: bool,
        has_stale: bool = False,
        repeatable: bool = True,
    ) -> OriginCall:
        """Describe a request for the gate; one of a mode that is not served is limited all the same."""
        parts = urlsplit(request.url)
        namespace = plan.key.namespace if plan else self.planner.namespace_of(request)
        if namespace is None:
            namespace = "other.live" if livemode_of(request.credential) else "other.test"
        return OriginCall(
            namespace,
            request.method,
            f"{parts.scheme}://{parts.netloc}",
            parts.path,
            plan.object_type if plan else "",
            critical,
            has_stale,
            repeatable,
        )

    def invalidate(
        self,
        records: Sequence[str],
        *,
        account: str | None = None,
        livemode: bool | None = None,
        cause: Cause = NO_CAUSE,
    ) -> dict[str, int]:
        """Void records of an account (None: the operator's own), in every mode this cache serves.

        Returns what each tier was told; raises as `void` does, and RequestError for an account or mode that is none.
        """
        return self.void(self.places(records, account=account, livemode=livemode), cause)

    def places(
        self, records: Iterable[str], *, account: str | None, livemode: bool | None, by_context: bool = False
    ) -> dict[str, tuple[str, ...]]:
        """Name the namespaces a change is told in, and what is void in each; raises RequestError for no account."""
        if livemode not in {None, True, False} or not (account is None or is_label(account)):
            raise RequestError(
                f"account {str(account)[:80]!r}, livemode {livemode!r:.80} name no account's cache: give the acct_... "
                "id of a connected account, or None for your own, and True, False or None for both modes"
            )
        return self.planner.places(records, account, livemode=livemode, by_context=by_context)

    def void(self, places: Mapping[str, Sequence[str]], cause: Cause = NO_CAUSE) -> dict[str, int]:
        """Void the records named for each namespace, and return how many each tier was told.

        Raises InvalidationError if a shared tier could not be told of one of them, after every other one was.
        """
        done: dict[str, int] = {}
        failed: dict[str, str] = {}
        queued = True
        for namespace, records in places.items():
            try:
                told = self.invalidator.invalidate(namespace, records, cause=cause)
            except InvalidationError as error:
                # The other namespaces are told all the same.
                told, failed, queued = error.done, failed | error.failed, queued and error.queued
            for tier, count in told.items():
                done[tier] = done.get(tier, 0) + count
        if failed:
            names = sorted({record for records in places.values() for record in records})
            raise InvalidationError(tuple(names), done, failed, queued=queued)
        return done

    def apply(self, event: Mapping[str, Any]) -> Affected:
        """Void what an event says has changed, and return it; raises NotAnEventError and InvalidationError."""
        found = affected(event)
        self.void(self.places_of(found), found.cause)
        return found

    def places_of(self, found: Affected, account: str | None = None) -> dict[str, tuple[str, ...]]:
        """Name where an event is told, as `places`; `account` is whose it is if it does not say."""
        return self.places(
            found.records,
            account=found.account or account,
            livemode=found.livemode,
            by_context=found.by_context,
        )
