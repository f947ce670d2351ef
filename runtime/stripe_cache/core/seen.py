"""Events whose records are void in every tier already: applied again they would only throw away good entries.

Stripe delivers some events twice, and the sweep for lost events reads them all once more. An event is marked after
every tier has confirmed, so a mark that stands says: whatever was fetched before the change is gone (P1), and what has
been fetched since was fetched after it. No clock is compared: the event's own time is of whole seconds, and of another
machine. A mark that is lost, or was never set, costs a void that changes nothing but the number of calls to Stripe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from stripe_cache.core.breaker import Breaker
from stripe_cache.core.errors import StripeCacheError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stripe_cache.core.clock import Clock

SEEN_TTL = 6 * 3600
"""Seconds a mark is kept: several sweeps long, and long enough for most repeated deliveries."""


class SeenStore(Protocol):
    """Where marks are kept. Thread-safe; may raise TierError or ConfigurationError."""

    def known(self, namespace: str, events: Sequence[str]) -> set[str]:
        """Return those of the events that are marked."""
        ...

    def mark(self, namespace: str, events: Sequence[str]) -> None:
        """Mark them for SEEN_TTL seconds from now."""
        ...


class Seen:
    """Marks that can be done without: a store that fails knows nothing. Thread-safe."""

    def __init__(self, store: SeenStore | None, clock: Clock) -> None:
        self._store = store
        self._breaker = Breaker(clock)

    def known(self, namespaces: Sequence[str], events: Iterable[str]) -> set[str]:
        """Return the events that are marked in every one of the namespaces."""
        asked = sorted(set(events))
        if self._store is None or not asked or not namespaces or not self._breaker.admits():
            return set()
        try:
            found = [self._store.known(namespace, asked) for namespace in namespaces]
        except StripeCacheError:
            self._breaker.failed(was_slow=True)
            return set()
        self._breaker.succeeded()
        return set.intersection(*found)

    def mark(self, namespaces: Sequence[str], events: Iterable[str]) -> None:
        """Mark events whose records every tier has confirmed void; only after that."""
        done = sorted(set(events))
        if self._store is None or not done or not self._breaker.admits():
            return
        try:
            for namespace in namespaces:
                self._store.mark(namespace, done)
        except StripeCacheError:
            self._breaker.failed(was_slow=True)
        else:
            self._breaker.succeeded()
