"""What runs inside one process of the load: reads in turn and sometimes writes, through one cache, one slice at a time.

The schedule is open-loop. A read that is more than LATE seconds overdue is not made: it counts as offered, not as done.
Times reported are the machine's own, whatever the clock of the cache shows.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import stripe

from local.demo import views
from stripe_cache import Settings, StripeCache, outbox_wiring
from stripe_cache.core import metrics
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.errors import StripeCacheError
from stripe_cache.core.ports import NullMeter
from stripe_cache.core.replay import replay_all
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Iterator

API_KEY = "sk_test_chaos"
LATE = 0.25
READS_PER_INVOCATION = 20
"""After so many reads the process begins what would be another Lambda invocation: memory asks before it answers."""
SDK_EVERY = 4
"""Each so many-th read of a customer goes through StripeClient, the others through `get`."""
ZIPF_EXPONENT = 0.8


class MovableClock(SystemClock):
    """The machine's clock, wrong by `skew` seconds."""

    skew = 0.0

    def now(self) -> float:
        """Return the machine's time, and the skew."""
        return time.time() + self.skew


class Meter(NullMeter):
    """Knows whether every invalidation of this process has reached every tier, or an outbox instead."""

    failed = queued = 0.0

    def count(self, metric: str, value: float = 1, *, tier: str = "", object_type: str = "") -> None:
        """Keep the counts that matter here."""
        super().count(metric, value, tier=tier, object_type=object_type)
        if metric == metrics.INVALIDATION_FAILED:
            self.failed += value
        elif metric == metrics.INVALIDATION_QUEUED:
            self.queued += value


class Load:
    """The cache of this process and the reads it makes of it."""

    def __init__(self) -> None:
        settings = Settings.from_env()
        self._clock, self._meter = MovableClock(), Meter()
        self._cache = StripeCache(settings, engine=build(settings, clock=self._clock, meter=self._meter))
        self._client = self._cache.client(API_KEY, max_network_retries=0)
        self._replayer = outbox_wiring.replayer(settings, self._cache.engine)
        self._reads: list[tuple[str, str]] = []
        self._draws: Iterator[int] = iter(())
        self._due = 0.0
        self._made = 0

    def aim(self, event: dict[str, Any]) -> dict[str, Any]:
        """Take over what to read: pairs of kind and path, the most popular first."""
        self._reads = [(kind, path) for kind, path in event["reads"]]
        weights = list(accumulate(rank**-ZIPF_EXPONENT for rank in range(1, len(self._reads) + 1)))
        drawn = random.Random(event["seed"])
        places = range(len(self._reads))
        self._draws = (drawn.choices(places, cum_weights=weights)[0] for _ in itertools.count())
        self._due = 0.0
        return {}

    def slice(self, event: dict[str, Any]) -> dict[str, Any]:
        """Read at `rate` per second until `until`; return samples (place, began, ms, value, tier, error)."""
        began = time.time()
        pause = 1 / event["rate"]
        self._due = self._due or began
        samples, offered = [], 0
        while self._due < event["until"]:
            offered += 1
            late = time.time() - self._due
            if late < 0:
                time.sleep(-late)
            if late <= LATE:
                samples.append(self._read(next(self._draws)))
            self._due += pause
        return {"offered": offered, "samples": samples}

    def sweep(self, event: dict[str, Any]) -> dict[str, Any]:
        """Read everything once, from place `first` on, as the next invocation."""
        self._cache.begin_invocation()
        count = len(self._reads)
        return {"samples": [self._read((event["first"] + number) % count) for number in range(count)]}

    def write(self, event: dict[str, Any]) -> dict[str, Any]:
        """Rename a customer; `told`: every tier was told; `queued`: an outbox keeps what was not."""
        failed, queued, began = self._meter.failed, self._meter.queued, time.time()
        try:
            self._client.v1.customers.update(event["id"], params={"name": event["name"]})
        except (stripe.StripeError, StripeCacheError) as error:
            return {"error": type(error).__name__}
        ended, told = time.time(), self._meter.failed == failed
        return {"began": began, "ended": ended, "told": told, "queued": self._meter.queued > queued, "error": ""}

    def replay(self, _: dict[str, Any]) -> dict[str, Any]:
        """Tell the tiers what they missed, as the reconciler does."""
        namespaces = self._cache.engine.planner.namespaces(None, livemode=None)
        reports = replay_all(self._replayer, namespaces).values()
        return {"left": sum(one.left for one in reports), "failed": any(one.failure for one in reports)}

    def skew(self, event: dict[str, Any]) -> dict[str, Any]:
        """Put the clock wrong by so many seconds."""
        self._clock.skew = event["seconds"]
        return {}

    def _read(self, place: int) -> list[Any]:
        kind, path = self._reads[place]
        self._made += 1
        if self._made % READS_PER_INVOCATION == 0:
            self._cache.begin_invocation()
        began, clock = time.time(), time.perf_counter()
        body: Any = None
        try:
            if kind == "customer" and self._made % SDK_EVERY == 0:
                found = self._client.v1.customers.retrieve(path.rpartition("/")[2])
                took = time.perf_counter() - clock
                last = found.last_response
                body, tier = found.to_dict(), views.tier_of(last.headers["cache-status"]) if last else ""
            else:
                answer = self._cache.get(path, api_key=API_KEY)
                took = time.perf_counter() - clock
                body, tier = answer.data, answer.status.detail if answer.status.hit else ""
        except (stripe.StripeError, StripeCacheError) as error:
            took = time.perf_counter() - clock
            return [place, began, took * 1000, "", "", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"]
        return [place, began, took * 1000, json.dumps(views.expected(kind, body)), tier, ""]


_load = Load()
_DEEDS = {
    "aim": _load.aim,
    "slice": _load.slice,
    "sweep": _load.sweep,
    "write": _load.write,
    "skew": _load.skew,
    "replay": _load.replay,
}


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Do one thing; every answer names the process."""
    return {"pid": os.getpid(), **_DEEDS[event["do"]](event)}
