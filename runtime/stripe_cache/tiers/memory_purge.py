"""Searching this process's own memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stripe_cache.core.purge import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_cache.core.purge import Terms
    from stripe_cache.tiers.memory import MemoryTier


class MemorySearch:
    """Searches and forgets."""

    name = "memory"

    def __init__(self, tier: MemoryTier) -> None:
        self._tier = tier

    def search(self, namespace: str, terms: Terms, cursor: str) -> Page:
        """Look at everything at once: there is no I/O in it."""
        del cursor
        held = self._tier.contents(namespace)
        matching = {record for record, values in held.items() if terms.name(record) or any(map(terms.match, values))}
        return Page(sum(map(len, held.values())), tuple(sorted(matching)), (), "")

    def forget(self, namespace: str, names: Sequence[str]) -> tuple[str, ...]:
        """Drop the records without a hold."""
        return self._tier.forget(namespace, names)
