"""stripe-cache itself, with its defaults except for what keeps each read in the tier that is being measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.floors import DYNAMODB, MEMORY, REDIS
from benchmarks.measure import OURS, Contender
from benchmarks.stage import API_KEY
from stripe_cache import Settings, StripeCache

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.stage import Shape, Stage

_BESIDE_A_BODY = 4000
"""More than what the memory tier counts for an entry beside its body, less than a second entry of any shape here."""


def ours(stage: Stage, shape: Shape, bodies: Mapping[str, bytes]) -> list[Contender]:
    """Return our reads from each tier, for both ways to read, each seen to be a hit in that tier."""
    longest = max(map(len, bodies.values()))
    variants: list[tuple[str, str, str, dict[str, Any], int]] = [
        ("stripe-cache: memory", "memory", MEMORY, {}, 1),
        ("stripe-cache: redis", "redis", REDIS, {"memory_max_bytes": 0}, 1),
        # Room for one entry: each read misses in memory, hits in Redis, and puts the entry where the last one was.
        ("stripe-cache: redis, filling memory", "redis", REDIS, {"memory_max_bytes": longest + _BESIDE_A_BODY}, 1),
        ("stripe-cache: dynamodb", "dynamodb", DYNAMODB, {"memory_max_bytes": 0, "redis_url": ""}, 5),
    ]
    found = []
    for name, tier, floor, changes, slowness in variants:
        for way in ("client", "get"):
            cache = StripeCache(Settings(**{**_defaults(stage), **changes}))
            call = shape.through(cache.client(API_KEY)) if way == "client" else _plain(cache, shape)
            _warm(cache, shape, call, tier)
            found.append(Contender(name, way, shape.name, OURS, call, floor, slowness))
    return found


def settings(stage: Stage) -> Settings:
    """Return the settings of a production cache on this stage's servers."""
    return Settings(**_defaults(stage))


def _defaults(stage: Stage) -> dict[str, Any]:
    # The deadlines are wider than a Lambda's: DynamoDB Local takes what DynamoDB never does, and a tier that is left
    # alone for a while would end the run.
    return {
        "namespace": "acct_benchmark",
        "redis_url": stage.valkey.url,
        "table": stage.table,
        "api_base": stage.stripe.url,
        "events": True,
        "redis_timeout": 2.0,
        "dynamodb_timeout": 5.0,
        # The fake has no limits here, and what is measured is the cache, not the waiting for a turn.
        "rate_limits": None,
    }


def _plain(cache: StripeCache, shape: Shape) -> Callable[[int], Any]:
    params = shape.params
    return lambda index: cache.get(shape.path(index), params, api_key=API_KEY).data


def _warm(cache: StripeCache, shape: Shape, call: Callable[[int], Any], tier: str) -> None:
    for index in range(2 * len(shape.ids)):
        call(index)
    status = cache.get(shape.path(0), shape.params, api_key=API_KEY).status
    if status.tier != tier:
        raise RuntimeError(f"{shape.name} was to be read from {tier}, and the answer says: {status}")
