"""A stored answer and its freshness, as functions of values: `now` is always an argument."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stripe_cache.core.near import Witness


class Freshness(Enum):
    """How old an entry may be called at some moment."""

    FRESH = "fresh"
    STALE = "stale"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer of the origin, as it came.

    `fetched_at` is when the origin call started; all three times are epoch seconds. `headers` are the few that are
    kept, lower case, credentials never among them. `embeds` names every record whose invalidation voids this entry
    too.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    fetched_at: float
    fresh_until: float
    stale_until: float
    embeds: tuple[str, ...] = ()

    def freshness(self, now: float) -> Freshness:
        """Tell whether the entry may be served freely, only with permission, or not at all."""
        if now < self.fresh_until:
            return Freshness.FRESH
        return Freshness.STALE if now < self.stale_until else Freshness.DEAD

    def ttl(self, now: float) -> int:
        """Return the whole seconds of freshness left; negative once stale (RFC 9211)."""
        left = self.fresh_until - now
        return int(left) if left >= 0 else -int(-left) or -1

    def age(self, now: float) -> float:
        """Return the seconds since the origin was asked; never negative, whatever another machine's clock said."""
        return max(0.0, now - self.fetched_at)


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as a tier holds it: with the generation, in that tier, of each record it embeds (same order).

    `witness` is set in the memory tier only, where `near.py` keeps what a shared tier said of the copy.
    """

    entry: Entry
    generations: tuple[str, ...] = ()
    witness: Witness | None = None
