"""Locks that let one process of all ask for a refresh; each dies by itself, so nobody has to release it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stripe_cache.core.errors import TierError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe_cache.core.clock import Clock
    from stripe_cache.tiers.dynamodb_table import Table
    from stripe_cache.tiers.redis import Commands

_MARK = "#refresh"
"""Locks are named by variant: a digest that tells nothing about whom the entry is, and purges pass it by."""


class RedisLock:
    """A key with a TTL that only one can set: `sc1:{namespace|#refresh<variant>}`."""

    def __init__(self, connect: Callable[[], Commands]) -> None:
        self._connect = connect

    def acquire(self, namespace: str, variant: str, seconds: float) -> bool:
        """Take the lock in one command; raises TierError."""
        import redis

        from stripe_cache.tiers.redis import record_key

        key = record_key(namespace, f"{_MARK}{variant}")
        try:
            return bool(self._connect().execute_command("SET", key, "1", "NX", "PX", int(seconds * 1000)))
        except (redis.RedisError, OSError) as error:
            raise TierError(f"redis: {type(error).__name__}: {error}") from error


class DynamoDBLock:
    """An item that only one can write until its time has passed; machines' clocks decide, to the second or so."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def acquire(self, namespace: str, variant: str, seconds: float) -> bool:
        """Take the lock in one conditional write; raises TierError."""
        now = self._clock.now()
        written = self._table.update(
            f"{namespace}|{_MARK}{variant}",
            "SET #u = :until, #x = :gone",
            {
                ":until": {"N": f"{now + seconds:.3f}"},
                ":now": {"N": f"{now:.3f}"},
                ":gone": {"N": str(int(now + seconds) + 3600)},
            },
            names={"#u": "u", "#x": "exp"},
            condition="attribute_not_exists(#u) OR #u < :now",
        )
        return written is not None
