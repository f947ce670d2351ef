"""Why an answer is what it is, in the standard `Cache-Status` form (RFC 9211)."""

from __future__ import annotations

from typing import NamedTuple

NAME = "stripe-cache"
HEADER = "cache-status"


class CacheStatus(NamedTuple):
    """How the cache handled one request.

    `fwd` is why the origin was asked: `uri-miss`, `stale`, `request` (the caller's no-cache or max-age) or `bypass`;
    empty on a hit. `ttl` is the freshness left in seconds, negative when stale. `detail` names the tier, and why a
    stale one answered.
    """

    hit: bool = False
    fwd: str = ""
    stored: bool = False
    collapsed: bool = False
    ttl: int | None = None
    detail: str = ""

    @property
    def tier(self) -> str:
        """The tier that answered, or an empty string."""
        return self.detail.partition(";")[0] if self.hit else ""

    @property
    def stale(self) -> bool:
        """Whether the answer was past its freshness when it was served."""
        return self.hit and self.ttl is not None and self.ttl < 0

    def __str__(self) -> str:
        parts = [NAME]
        if self.hit:
            parts.append("hit")
        if self.fwd:
            parts.append(f"fwd={self.fwd}")
        if self.ttl is not None:
            parts.append(f"ttl={self.ttl}")
        if self.stored:
            parts.append("stored")
        if self.collapsed:
            parts.append("collapsed")
        if self.detail:
            # An sf-token may hold letters, digits and a few marks; anything else must be a quoted string.
            plain = self.detail.replace("-", "").replace("_", "").isalnum()
            parts.append(f"detail={self.detail}" if plain else f'detail="{self.detail}"')
        return "; ".join(parts)
