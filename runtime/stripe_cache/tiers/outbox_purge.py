"""Searching the outbox in the table for what is about somebody: what tiers missed names records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stripe_cache.core.purge import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_cache.core.purge import Terms
    from stripe_cache.core.replay import ReplayableOutbox, Replayer


class OutboxSearch:
    """Searches, and forgets by replaying: an entry goes once its tiers have confirmed it, and never before."""

    name = "outbox"

    def __init__(self, outbox: ReplayableOutbox, replayer: Replayer) -> None:
        self._outbox = outbox
        self._replayer = replayer

    def search(self, namespace: str, terms: Terms, cursor: str) -> Page:
        """Look at all of it: it is small."""
        del cursor
        entries = self._outbox.entries(namespace)
        names = {name for entry in entries for name in entry.missed.records}
        return Page(len(entries), tuple(sorted(filter(terms.name, names))), (), "")

    def forget(self, namespace: str, names: Sequence[str]) -> tuple[str, ...]:
        """Replay the outbox; return the names that a tier which is away keeps in it."""
        self._replayer.run(namespace)
        left = {name for entry in self._outbox.entries(namespace) for name in entry.missed.records}
        return tuple(name for name in names if name in left)
