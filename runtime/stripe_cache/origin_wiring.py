"""What stands between the engine and Stripe, put together from the settings: limiter, gate, refresher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stripe_cache.core.allocation import Allocation
from stripe_cache.core.limiter import Limiter
from stripe_cache.core.origin import OriginGate
from stripe_cache.core.rate_limits import RateLimits
from stripe_cache.core.refresh import Refresher

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe_cache.core.allocation import ReadStore
    from stripe_cache.core.clock import Clock
    from stripe_cache.core.deadline import Deadline
    from stripe_cache.core.latencies import Latencies
    from stripe_cache.core.ports import Meter
    from stripe_cache.core.refresh import RefreshLock
    from stripe_cache.settings import Settings


class Stores:
    """The shared stores as the origin's side uses them; each may be absent.

    `redis` and `dynamodb` make clients on first use; `redis_is_away` asks the tier's own breaker.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        redis: Callable[[], Any] | None,
        redis_is_away: Callable[[], bool],
        dynamodb: Callable[[], Any] | None,
    ) -> None:
        self.redis_is_away = redis_is_away
        self.buckets = None
        self.reads: ReadStore | None = None
        self.lock: RefreshLock | None = None
        if redis is not None:
            from stripe_cache.tiers.rate_limit_redis import RedisBuckets
            from stripe_cache.tiers.refresh_locks import RedisLock

            self.buckets = RedisBuckets(redis)
            self.reads, self.lock = self.buckets, RedisLock(redis)
        elif dynamodb is not None:
            from stripe_cache.tiers.dynamodb_table import Table
            from stripe_cache.tiers.read_counts import DynamoDBReads
            from stripe_cache.tiers.refresh_locks import DynamoDBLock

            table = Table(dynamodb, settings.table)
            self.reads, self.lock = DynamoDBReads(table), DynamoDBLock(table, clock)


def gate(
    settings: Settings, stores: Stores, latencies: Latencies, clock: Clock, meter: Meter, *, deadline: Deadline
) -> OriginGate:
    """Make the gate that every request to Stripe passes."""
    limits = RateLimits().with_overrides(settings.rate_limits or {})
    limiter = None
    if settings.rate_limits is not None:
        limiter = Limiter(limits, clock, stores.buckets, stores.redis_is_away)
    # The script that takes tokens in Redis counts the reads as well; nothing else needs telling then.
    counted = limiter is not None and stores.buckets is not None
    allocation = Allocation(stores.reads, clock, batched=not counted)
    return OriginGate(limiter, limits, allocation, deadline=deadline, latencies=latencies, clock=clock, meter=meter)


def refresher(
    settings: Settings, stores: Stores, clock: Clock, meter: Meter, queue: Callable[[], Any] | None
) -> Refresher | None:
    """Make what asks for refreshes, if there is a queue to ask in; `queue` returns its client."""
    if queue is None:
        return None
    from stripe_cache.tiers.refresh_queue import SqsRefreshQueue

    return Refresher(SqsRefreshQueue(settings.refresh_queue_url, queue), stores.lock, clock, meter)
