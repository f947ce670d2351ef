"""What a walk down the tiers is made of: the tiers in reading order, and a request that none has answered yet."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stripe_cache.core.answer import Answer
    from stripe_cache.core.entry import Entry
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.ports import Tier
    from stripe_cache.core.protocol import Lease


@dataclass(frozen=True, slots=True)
class Tiers:
    """The tiers in reading order. `memory` is this process's own; `shared` are the others, nearest first."""

    memory: Tier | None
    shared: tuple[Tier, ...]


@dataclass(slots=True)
class Miss:
    """A request on its way down the tiers, until one has an answer.

    What stays without one has the right to fill each tier it came past, and knows what may be served if the origin
    cannot answer.
    """

    plan: Plan
    max_age: float = math.inf
    """Seconds since it was fetched beyond which no entry may answer, whatever else fails: the caller's own bound."""
    leases: list[Lease] = field(default_factory=list)
    memory_lease: Lease | None = None
    stale: list[Tier] = field(default_factory=list)
    """Where a stale entry was seen that may answer."""
    fwd: str = "uri-miss"
    answer: Answer | None = None
    in_vain: bool = False
    """Whether a call of the origin would be turned away as long as there is a stale entry."""
    spare: tuple[Tier, Entry] | None = None
    """The youngest stale entry of a shared tier; noted only where a call would be in vain."""
    is_held: bool = False
    """Whether some shared tier says that a write on the record may be in flight: then nothing may be filled."""

    def saw_hold(self) -> None:
        """Give up the right to fill anything, in this tier and in all others.

        A hold that stands in one tier may have been lost in the next:
            writer: holds in both, gets no answer    Redis: evicts the record    reader: leases in Redis, the OLD answer
            Stripe: performs the write               reader: stores it in Redis, where no hold is known any more
        """
        self.is_held = True
        self.leases.clear()
        self.memory_lease = None

    def saw_stale(self, tier: Tier) -> None:
        """Remember a tier that has an entry past its end, or so near it that it is to be renewed."""
        self.fwd = "stale"
        if tier not in self.stale:
            self.stale.append(tier)
