"""How long an answer may live with what is inside it: nothing lives longer inside another object than alone.

A payment link is cached for a day because every change of it sends an event. The shipping rates expanded in it send
none, so that the whole answer lives no longer than a shipping rate does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds: of freshness, of the stale window behind it, and for how long memory and Redis keep an entry at most."""

    fresh: float
    stale: float
    memory: float
    redis: float

    def cap(self, tier: str) -> float:
        """Return the most seconds the tier keeps the entry.

        DynamoDB holds the long tail and keeps it to its end. So does Redis if it keeps it for as long as it is fresh:
        it may be the only tier that can answer when Stripe fails.
        """
        if tier == "memory":
            return self.memory
        return self.redis if tier == "redis" and self.redis < self.fresh else self.fresh + self.stale


def bounded(lifetimes: Lifetimes, body: Any, bounds: Mapping[str, Lifetimes | None]) -> tuple[float, float] | None:
    """Return the seconds for which an answer with this body is fresh, and stale after that; None to keep it out.

    `bounds` says how long each object type lives alone, None for one that the policy does not cache. A type without a
    row cannot be read alone, so that what holds it is the only bound it has (`discount`, inside a customer).

    Memory and Redis keep the answer for as long as its own type says, and never beyond these seconds.
    """
    fresh, stale = lifetimes.fresh, lifetimes.stale
    for kind in _kinds(body) & bounds.keys():
        bound = bounds[kind]
        if bound is None:
            return None
        fresh, stale = min(fresh, bound.fresh), min(stale, bound.stale)
    return fresh, stale


def _kinds(body: Any) -> set[str]:
    """Collect the `object` of everything in the body, the answer itself included."""
    found: set[str] = set()
    remaining = [body]
    while remaining:
        value = remaining.pop()
        if isinstance(value, dict):
            kind = value.get("object")
            if isinstance(kind, str):
                found.add(kind)
            value = value.values()
        remaining.extend(item for item in value if isinstance(item, dict | list))
    return found
