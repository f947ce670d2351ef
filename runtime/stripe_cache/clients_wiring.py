"""The clients of the stores and services outside, put together from the settings. Making one connects to nothing.

What needs boto3 imports it on first use: it takes 120 ms, and a process whose reads all hit Redis never needs it.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from stripe_cache.tiers import redis_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe_cache.core.deadline import Deadline
    from stripe_cache.settings import Settings

    Make = Callable[[], Any]


class Clients:
    """What makes each client on first use and then keeps it, one for all who use it; None where there is no use for it.

    `stores` False leaves out Redis, the table and the key: others take their place.
    """

    def __init__(self, settings: Settings, deadline: Deadline | None = None, *, stores: bool = True) -> None:
        bounded = deadline.for_step if deadline else None
        self.redis: Make | None = None
        self.dynamodb: Make | None = None
        self.kms: Make | None = None
        self.outbox_queue: Make | None = None
        self.refresh_queue: Make | None = None
        if stores and settings.redis_url:
            address = redis_url.parse(settings.redis_url)
            self.redis = cache(partial(connect_redis, address, settings.redis_timeout, bounded))
        if stores and settings.table:
            self.dynamodb = cache(partial(connect_dynamodb, settings.dynamodb_timeout, bounded))
        if stores and settings.kms_key:
            self.kms = cache(partial(_connect_kms, settings.dynamodb_timeout))
        if settings.invalidation_queue_url and not settings.read_only:
            self.outbox_queue = cache(_connect_outbox)
        if settings.refresh_queue_url:
            self.refresh_queue = cache(_connect_refreshes)

    def warm(self) -> None:
        """Make now what boto3 makes; the first of them takes most of a second of processor time."""
        for make in (self.dynamodb, self.kms, self.outbox_queue, self.refresh_queue):
            if make is not None:
                make()


def connect_redis(
    address: redis_url.RedisAddress, timeout: float, bounded: Callable[[float], float] | None = None
) -> Any:
    """Return as `redis_connection.connect`."""
    from stripe_cache.tiers.redis_connection import connect

    return connect(address, timeout, bounded)


def connect_dynamodb(timeout: float, bounded: Callable[[float], float] | None = None) -> Any:
    """Return as `dynamodb_connection.connect`."""
    from stripe_cache.tiers.dynamodb_connection import connect

    return connect(timeout, bounded)


def _connect_kms(timeout: float) -> Any:
    from stripe_cache.tiers.kms_connection import connect

    return connect(timeout)


def _connect_outbox() -> Any:
    from stripe_cache.tiers import outbox_sqs, sqs_connection

    return sqs_connection.connect(outbox_sqs.CONNECT_SECONDS, outbox_sqs.READ_SECONDS)


def _connect_refreshes() -> Any:
    from stripe_cache.tiers import refresh_queue, sqs_connection

    return sqs_connection.connect(refresh_queue.CONNECT_SECONDS, refresh_queue.READ_SECONDS)
