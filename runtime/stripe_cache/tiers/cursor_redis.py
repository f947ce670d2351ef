"""The cursor in Redis, for a cache without a table: a hash with the one field `c`.

A flush or an eviction loses it. Then the next sweep starts over, as far back as anything cached can be old.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from stripe_cache.core.cursor import CURSOR_RECORD, CURSOR_TTL
from stripe_cache.core.errors import TierError
from stripe_cache.tiers.redis import record_key

if TYPE_CHECKING:
    from collections.abc import Callable

# Field and end of life in one step: a key without a TTL would stay for ever if the process died in between.
_SAVE = """
redis.call('HSET', KEYS[1], 'c', ARGV[1])
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"""


class RedisCursors:
    """Keeps cursors with one HMGET and one script each; `connect` makes the client on first use."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._connected: Any = None

    def load(self, namespace: str) -> str | None:
        """Read it."""
        (raw,) = self._execute("HMGET", record_key(namespace, CURSOR_RECORD), "c")
        return None if raw is None else raw.decode("utf-8", "replace")

    def save(self, namespace: str, text: str, now: float) -> None:  # noqa: ARG002 (Redis counts the seconds itself)
        """Write it with its TTL."""
        self._execute("EVAL", _SAVE, 1, record_key(namespace, CURSOR_RECORD), text, CURSOR_TTL)

    def _execute(self, *command: Any) -> Any:
        try:
            if self._connected is None:
                self._connected = self._connect()
            return self._connected.execute_command(*command)
        except (redis.RedisError, OSError) as error:
            raise TierError(f"redis: {type(error).__name__}: {error}") from error
