"""Who may call Stripe when: token buckets shared by every process, or this process's share of them.

Shared, one round trip to Redis per call to Stripe decides for both buckets at once, by Redis's clock. Without Redis
a process knows nothing of the others: it begins with the whole limit, or the share it was told, shrinks when Stripe
objects and grows while Stripe does not. What it believes then is a guess, so it never keeps a write from being sent.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

from stripe_cache.core.breaker import Breaker
from stripe_cache.core.buckets import Level
from stripe_cache.core.errors import TierError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.rate_limits import Bucket, RateLimits

log = logging.getLogger("stripe_cache")

LOCAL_RECOVERY = 300.0
"""Seconds of use in which a process alone grows from nothing to the whole limit; what it learnt is as long of use."""
_NAMESPACES_KEPT = 1024
GLOBAL_REASONS = frozenset({"global-rate", "global-concurrency"})
ENDPOINT_REASONS = frozenset({"endpoint-rate", "endpoint-concurrency"})
"""Values of Stripe-Rate-Limited-Reason that name a bucket of ours. `resource-specific` names one object: no bucket."""


class Grant(NamedTuple):
    """The right to call in `wait` seconds; if not `given`, the wait that would have been needed, and nothing taken."""

    given: bool
    wait: float
    bucket: str = ""


@dataclass(frozen=True, slots=True)
class Demand:
    """One call that wants to be made. `patience` is the most seconds it can wait; `reads` are counted if it may go.

    One that is not `refusable` is refused only by buckets that all processes share.
    """

    namespace: str
    buckets: tuple[Bucket, ...]
    urgent: bool
    patience: float
    reads: int = 0
    refusable: bool = True


class SharedBuckets(Protocol):
    """Buckets that all processes share. Each method may raise TierError."""

    def take(self, demand: Demand, reserve: float) -> Grant:
        """Take one token from each bucket, all or none."""
        ...

    def shrink(self, namespace: str, bucket: Bucket, reserve: float) -> None:
        """Slow the bucket down for a while."""
        ...


class Limiter:
    """Decides; never sleeps. Thread-safe. `is_away` tells that the shared buckets are known to be out of reach."""

    def __init__(
        self,
        limits: RateLimits,
        clock: Clock,
        shared: SharedBuckets | None = None,
        is_away: Callable[[], bool] = lambda: False,
    ) -> None:
        self.limits = limits
        self._clock = clock
        self._shared = shared
        self._is_away = is_away
        self._breaker = Breaker(clock)
        self._lock = Lock()
        self._local: OrderedDict[str, dict[str, Level]] = OrderedDict()
        self._uncounted: dict[str, int] = {}
        self._share = 1 / max(1, limits.processes)

    def ask(self, demand: Demand) -> Grant:
        """Take a token from every bucket of the demand, or from none; one round trip, none without Redis."""
        if self._shared is not None and not self._is_away() and self._breaker.admits():
            owed = self._uncounted.pop(demand.namespace, 0)
            try:
                grant = self._shared.take(_with_reads(demand, demand.reads + owed), self.limits.reserve)
            except TierError as error:
                self._lost(error)
                self._uncount(demand.namespace, owed)
            else:
                self._breaker.succeeded()
                if not grant.given:
                    self._uncount(demand.namespace, owed)
                return grant
        grant = self._ask_local(demand)
        if grant.given:
            self._uncount(demand.namespace, demand.reads)
        return grant

    def learn(self, namespace: str, buckets: Sequence[Bucket], reason: str) -> None:
        """Take Stripe's refusal to heart, once for all processes or, without Redis, for this one.

        A reason that names none of the buckets changes nothing.
        """
        whole, own = buckets[0], buckets[-1]
        bucket = whole if reason in GLOBAL_REASONS else own if reason in ENDPOINT_REASONS else None
        if bucket is None:
            return
        if self._shared is not None and not self._is_away() and self._breaker.admits():
            try:
                self._shared.shrink(namespace, bucket, self.limits.reserve)
            except TierError as error:
                self._lost(error)
            else:
                self._breaker.succeeded()
                return
        with self._lock:
            level = self._level(namespace, bucket, self._clock.monotonic())
            level.shrink()
            self._local[namespace][bucket.name] = level

    def uncounted(self, namespace: str) -> int:
        """Return the reads that nobody shared has been told of yet."""
        return self._uncounted.get(namespace, 0)

    def _lost(self, error: TierError) -> None:
        if self._breaker.failed(was_slow=True):
            log.warning("each process keeps to the rate limits by itself for a while: %s", error)

    def _uncount(self, namespace: str, reads: int) -> None:
        if reads:
            with self._lock:
                self._uncounted[namespace] = self._uncounted.get(namespace, 0) + reads

    def _ask_local(self, demand: Demand) -> Grant:
        reserve = self.limits.reserve
        with self._lock:
            now = self._clock.monotonic()
            levels = [(bucket, self._level(demand.namespace, bucket, now)) for bucket in demand.buckets]
            found = [(level.wait(bucket.rate, reserve, urgent=demand.urgent), bucket) for bucket, level in levels]
            (wait, _), slowest = max(found, key=lambda one: one[0][0])
            if wait > demand.patience:
                # A write takes no token then: reads would wait for what it owes.
                return Grant(not demand.refusable, wait if demand.refusable else demand.patience, slowest.name)
            for (bucket, level), ((_, from_reserve), _) in zip(levels, found, strict=True):
                level.take(from_reserve=from_reserve)
                self._local[demand.namespace][bucket.name] = level
            return Grant(given=True, wait=wait, bucket=slowest.name)

    def _level(self, namespace: str, bucket: Bucket, now: float) -> Level:
        levels = self._local.get(namespace)
        if levels is None:
            levels = self._local[namespace] = {}
            if len(self._local) > _NAMESPACES_KEPT:
                # Least recently made, not used: a namespace that comes back starts with a share again, which is safe.
                self._local.popitem(last=False)
        reserve = self.limits.reserve
        kept = levels.get(bucket.name)
        # A copy: what is refused leaves no trace, here as in Redis.
        level = replace(kept) if kept else Level.new(bucket.rate, reserve, self._share, now)
        if now - level.at > LOCAL_RECOVERY:
            # Redis was back, or nobody called: what Stripe said that long ago says nothing about now.
            level.factor = max(level.factor, self._share)
        level.refill(bucket.rate, reserve, now, LOCAL_RECOVERY)
        return level


def _with_reads(demand: Demand, reads: int) -> Demand:
    return replace(demand, reads=reads) if reads != demand.reads else demand
