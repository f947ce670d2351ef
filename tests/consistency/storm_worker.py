"""What runs inside the processes of a storm: a Lambda handler that reads, writes and applies events through one cache.

Its engine's clock is wrong by minutes; the times it reports are the machine's own, which all processes share.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import stripe

from local.fake_stripe.history import digest
from stripe_cache import Settings, StripeCache
from stripe_cache.core import metrics, protocol
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.errors import InvalidationError
from stripe_cache.core.ports import NullMeter
from stripe_cache.tiers import redis as redis_tier
from stripe_cache.tiers import redis_scripts
from stripe_cache.wiring import build

API_KEY = "sk_test_storm"
_SKEWS = (0.0, 0.0, -240.0, 300.0)


class SkewedClock(SystemClock):
    """The machine's clock, wrong by as many seconds as this process drew."""

    def __init__(self) -> None:
        self._skew = _SKEWS[os.getpid() % len(_SKEWS)]

    def now(self) -> float:
        return time.time() + self._skew


class CountingMeter(NullMeter):
    """Knows whether every invalidation of this process has reached every tier."""

    failed = 0.0

    def count(self, metric: str, value: float = 1, *, tier: str = "", object_type: str = "") -> None:
        super().count(metric, value, tier=tier, object_type=object_type)
        if metric == metrics.INVALIDATION_FAILED:
            self.failed += value


_PLANTED = os.environ.get("STORM_PLANTED")
if _PLANTED == "nothing is invalidated":
    protocol.invalidate = lambda *_: None
elif _PLANTED == "a fill looks at no generation":
    check = "if redis.call('HGET', KEYS[1], 'g') ~= ARGV[1] then return 0 end"
    assert check in redis_scripts.STORE.source
    redis_tier.STORE = redis_scripts.Script(redis_scripts.STORE.source.replace(check, ""))

_meter = CountingMeter()
_settings = Settings.from_env()
_cache = StripeCache(_settings, engine=build(_settings, clock=SkewedClock(), meter=_meter))
_client = _cache.client(API_KEY, max_network_retries=0)


def handler(event: dict[str, Any], _context: object) -> list[dict[str, Any]]:
    """Do several things at once, on threads: so flights occur, and a memory that threads share."""
    with ThreadPoolExecutor(event["threads"]) as threads:
        return list(threads.map(_do, event["deeds"]))


def _do(event: dict[str, Any]) -> dict[str, Any]:
    """Do one thing, and say when it began and ended and how it went."""
    failed, since = _meter.failed, time.time()
    try:
        found = _DEEDS[event["do"]](event)
    except (stripe.StripeError, InvalidationError) as error:
        found = {"error": type(error).__name__}
    return {"began": since, "ended": time.time(), "pid": os.getpid(), "told": _meter.failed == failed, **found}


def _read(event: dict[str, Any]) -> dict[str, Any]:
    answer = _cache.get(event["path"], api_key=API_KEY)
    tier = answer.status.detail if answer.status.hit else "origin"
    return {"digest": digest(answer.data), "tier": tier}


def _write(event: dict[str, Any]) -> dict[str, Any]:
    _client.v1.customers.update(event["id"], params={"name": event["tag"]})
    return {}


def _apply(event: dict[str, Any]) -> dict[str, Any]:
    _cache.apply_event(event["event"])
    return {}


_DEEDS = {"read": _read, "write": _write, "event": _apply}
