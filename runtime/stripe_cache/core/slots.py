"""What a miss found, as names under which readers of one process find each other; and who asks for which slot.

Two readers may share a call under way if they found the very same, counters included. If only counters differ, some
record was invalidated in between, perhaps one that the answer embeds: the later reader may not have that answer, but
it may wait until it is stored and then look, checks included.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable
    from concurrent.futures import Future

    from stripe_cache.core.answer import Answer
    from stripe_cache.core.descent import Miss


class First(NamedTuple):
    """Whoever asks for a slot first, and what it had found."""

    found: Hashable
    flight: Future[Answer | None]


class Asking:
    """Calls under way by slot. Thread-safe: every step is one of a dictionary's."""

    def __init__(self) -> None:
        self._first: dict[Hashable, First] = {}

    def first(self, slot: Hashable) -> First | None:
        """Return who asks already."""
        return self._first.get(slot)

    def enter(self, slot: Hashable, found: Hashable, flight: Future[Answer | None]) -> bool:
        """Become the first; False if another is."""
        return self._first.setdefault(slot, First(found, flight)).flight is flight

    def leave(self, slot: Hashable, flight: Future[Answer | None]) -> None:
        """Be the first no more; nothing happens if another is."""
        first = self._first.get(slot)
        # Nobody replaces a first that stands, so nothing comes in between.
        if first is not None and first.flight is flight:
            self._first.pop(slot, None)

    def __len__(self) -> int:
        return len(self._first)


def found_by(miss: Miss, colour: Hashable, *, has_shared: bool) -> Hashable:
    """Name what was found: after an invalidation of anything it differs.

    None if nothing was found that an invalidation would change: a write holds the record, or no tier answers.
    """
    leases = miss.leases if has_shared else [miss.memory_lease] if miss.memory_lease else []
    if not leases:
        return None
    found = tuple((one.tier.name, one.generation, one.counter.epoch, one.counter.started) for one in leases)
    return (miss.plan.key, found, colour)


def slot_of(miss: Miss, colour: Hashable) -> Hashable:
    """Name what a call is to fill: invalidations of other records change nothing about it."""
    leases = miss.leases or ([miss.memory_lease] if miss.memory_lease else [])
    # A forked child never sees its parent's calls land.
    return os.getpid(), miss.plan.key, tuple((one.tier.name, one.generation) for one in leases), colour
