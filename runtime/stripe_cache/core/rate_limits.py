"""How fast Stripe may be asked: its documented limits, and the operator's changes to them.

Numbers are those of Stripe's page on rate limits (2026): per account 100 requests a second live and 25 in a sandbox,
25 per API operation, 20 for search and for files.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from stripe_cache.core.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stripe_cache.core.catalog import Operation

SETTING = "STRIPE_CACHE_RATE_LIMITS"
BURST = 0.5
"""Seconds' worth of tokens a bucket holds. Stripe's hold one: the other half absorbs calls that bunch on their way."""
_FASTEST = 100_000.0
_MOST_PROCESSES = 100_000
_LARGEST_RESERVE = 0.9


class Bucket(NamedTuple):
    """One bucket to take from: its name within the namespace, and its tokens per second."""

    name: str
    rate: float


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests per second. `endpoints` overrides single operations, keyed `GET /v1/customers/{customer}`.

    `reserve` is the share kept for writes and critical reads. `processes` is how many are taken to share the limits
    while Redis cannot tell them of each other. One that takes too much is told so by Stripe and slows down within
    seconds; one that takes too little refuses what Stripe would have answered, and nobody tells it: hence 1.
    """

    live: float = 100.0
    test: float = 25.0
    endpoint: float = 25.0
    search: float = 20.0
    files: float = 20.0
    reserve: float = 0.2
    processes: int = 1
    endpoints: Mapping[str, float] = field(default_factory=dict)

    def with_overrides(self, overrides: Mapping[str, Any]) -> RateLimits:
        """Return other limits; raises SettingError naming the key and the remedy."""
        known = [one.name for one in fields(self)]
        changes: dict[str, Any] = {}
        for name, value in overrides.items():
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise SettingError(f"{SETTING}: {str(name)[:60]!r} is no limit: {hint}")
            changes[name] = _checked(name, value)
        return replace(self, **changes)

    def buckets(self, namespace: str, method: str, operation: Operation | None) -> tuple[Bucket, Bucket]:
        """Name the two buckets a call takes from: the namespace's and its operation's."""
        whole = self.live if namespace.endswith(".live") else self.test
        if operation is None:
            return Bucket("", whole), Bucket(f"{method.upper()} *", self.endpoint)
        name = f"{method.upper()} {operation.path}"
        rate = self.endpoint
        if operation.kind == "search" or operation.path.endswith("/search"):
            rate = self.search
        elif operation.base == "files" or operation.path.startswith("/v1/files"):
            rate = self.files
        return Bucket("", whole), Bucket(name, self.endpoints.get(name, rate))


def _checked(name: str, value: object) -> object:
    if name == "endpoints":
        if not isinstance(value, dict):
            raise SettingError(f'{SETTING}: endpoints must be an object such as {{"GET /v1/prices": 50}}')
        return {str(one): _number(f"endpoints[{str(one)[:60]!r}]", rate, _FASTEST) for one, rate in value.items()}
    if name == "reserve":
        # Some must be left for ordinary reads; none at all may be kept back.
        return _number(name, value, _LARGEST_RESERVE, least=0.0)
    if name == "processes":
        return int(_number(name, value, _MOST_PROCESSES, least=1.0))
    return _number(name, value, _FASTEST)


def _number(name: str, value: object, most: float, *, least: float = 0.1) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not least <= float(str(value)) <= most:
        raise SettingError(f"{SETTING}: {name} is {value!r:.60}: use a number from {least:g} to {most:g}")
    return float(str(value))
