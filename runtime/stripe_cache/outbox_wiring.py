"""Where what tiers missed is kept, and who tells them, put together from the settings."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from stripe_cache.clients_wiring import connect_dynamodb, connect_redis
from stripe_cache.core.heat import Heat
from stripe_cache.core.outbox import Outboxes
from stripe_cache.core.replay import Replayer
from stripe_cache.core.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.engine import Engine
    from stripe_cache.core.outbox import Outbox
    from stripe_cache.core.ports import Meter
    from stripe_cache.core.refresh import Refresher
    from stripe_cache.core.replay import Names
    from stripe_cache.settings import Settings
    from stripe_cache.tiers.outbox_dynamodb import DynamoDBOutbox
    from stripe_cache.tiers.outbox_purge import OutboxSearch

_PATIENCE = 3.0
"""Seconds per call while the outbox is read and Redis is searched: nobody waits for an answer of Stripe's meanwhile."""


def outboxes(
    settings: Settings,
    clock: Clock,
    meter: Meter,
    *,
    queue: Callable[[], Any] | None,
    dynamodb: Callable[[], Any] | None,
) -> Outboxes | None:
    """Make the durable places there are: the queue, then the table; None without any.

    `queue` and `dynamodb` return their clients; the table's is the tier's own, because making another one takes longer
    than a write should wait.
    """
    places: list[Outbox] = []
    if settings.read_only:
        return None
    if queue is not None:
        from stripe_cache.tiers.outbox_sqs import SqsOutbox

        places.append(SqsOutbox(settings.invalidation_queue_url, queue))
    if dynamodb is not None and settings.redis_url:
        places.append(_in_table(settings, clock, dynamodb))
    return Outboxes(places, clock, meter) if places else None


def table_outboxes(settings: Settings, clock: Clock, meter: Meter) -> Outboxes | None:
    """Make the outbox for what the queue's consumer cannot get rid of; None without a table or a Redis."""
    if not settings.table or not settings.redis_url:
        return None
    return Outboxes([_in_table(settings, clock, _patient(settings))], clock, meter)


def _in_table(settings: Settings, clock: Clock, connect: Callable[[], Any]) -> DynamoDBOutbox:
    from stripe_cache.tiers.outbox_dynamodb import DynamoDBOutbox

    def home(namespace: str) -> str:
        return f"{settings.namespace}.{namespace.rpartition('.')[2]}"

    return DynamoDBOutbox(connect, settings.table, clock, home)


def _patient(settings: Settings) -> Callable[[], Any]:
    return cache(partial(connect_dynamodb, max(settings.dynamodb_timeout, _PATIENCE)))


def replayer(settings: Settings, engine: Engine) -> Replayer | None:
    """Make what replays the outbox in the table; None without one."""
    outbox = _readable(settings, engine)
    return None if outbox is None else _replayer(settings, engine, outbox)


def outbox_search(settings: Settings, engine: Engine) -> OutboxSearch | None:
    """Make what erases somebody from the outbox in the table; None without one."""
    outbox = _readable(settings, engine)
    if outbox is None:
        return None
    from stripe_cache.tiers.outbox_purge import OutboxSearch

    return OutboxSearch(outbox, _replayer(settings, engine, outbox))


def _readable(settings: Settings, engine: Engine) -> DynamoDBOutbox | None:
    if not settings.table or not settings.redis_url:
        return None
    return _in_table(settings, engine.clock, _patient(settings))


def _replayer(settings: Settings, engine: Engine, outbox: DynamoDBOutbox) -> Replayer:
    from stripe_cache.tiers import redis_url
    from stripe_cache.tiers.redis_names import redis_names

    names: Names = {"redis": redis_names(cache(partial(connect_redis, redis_url.parse(settings.redis_url), _PATIENCE)))}
    return Replayer(outbox, engine.invalidator, names, engine.meter)


def heat(
    settings: Settings, redis: Callable[[], Any] | None, refresher: Refresher | None, clock: Clock, meter: Meter
) -> Heat | None:
    """Make what has hot records refreshed after events, if that is asked for and there is a Redis and a queue."""
    if not settings.refresh_hot or redis is None or refresher is None or settings.read_only:
        return None
    from stripe_cache.tiers.heat_redis import RedisHeat

    return Heat(RedisHeat(redis), refresher, clock, meter)


def seen(clock: Clock, table: str, redis: Callable[[], Any] | None, dynamodb: Callable[[], Any] | None) -> Seen:
    """Make what remembers applied events, in the nearest shared tier."""
    from stripe_cache.tiers.seen_stores import DynamoDBSeen, RedisSeen

    if redis is not None:
        return Seen(RedisSeen(redis), clock)
    return Seen(DynamoDBSeen(dynamodb, table, clock) if dynamodb is not None else None, clock)
