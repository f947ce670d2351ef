"""Marks of events that were applied: keys in Redis, or without Redis items of the table.

They lie in the nearest shared tier: flushed, it has forgotten the marks together with the entries.

    sc1:{namespace|#seen}<event>      "1", with a TTL
    pk "namespace|#seen<event>"       exp
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stripe_cache.core.errors import TierError
from stripe_cache.core.seen import SEEN_TTL
from stripe_cache.tiers.dynamodb_table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.clock import Clock

_MARK = """
for i = 1, #KEYS do redis.call('SET', KEYS[i], '1', 'EX', ARGV[1]) end
return #KEYS
"""


class RedisSeen:
    """One MGET to ask, one script to mark: the braces keep all of a namespace's marks in one slot of a cluster."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect

    def known(self, namespace: str, events: Sequence[str]) -> set[str]:
        """Ask for all of them at once."""
        marks = self._execute("MGET", *(_key(namespace, event) for event in events))
        return {event for event, mark in zip(events, marks, strict=True) if mark is not None}

    def mark(self, namespace: str, events: Sequence[str]) -> None:
        """Mark all of them at once."""
        self._execute("EVAL", _MARK, len(events), *(_key(namespace, event) for event in events), SEEN_TTL)

    def _execute(self, *command: Any) -> Any:
        import redis

        try:
            return self._connect().execute_command(*command)
        except (redis.RedisError, OSError) as error:
            raise TierError(f"redis: {type(error).__name__}: {error}") from error


class DynamoDBSeen:
    """A BatchGetItem per hundred to ask, a write each to mark."""

    def __init__(self, connect: Callable[[], Any], table: str, clock: Clock) -> None:
        self._table = Table(connect, table)
        self._clock = clock

    def known(self, namespace: str, events: Sequence[str]) -> set[str]:
        """Ask for all of them; DynamoDB deletes late, so each mark's own end is looked at."""
        items = self._table.get_many([_pk(namespace, event) for event in events], "pk, exp")
        now = self._clock.now()
        ends = {pk: item.get("exp", {}).get("N", "0") for pk, item in items.items()}
        return {event for event in events if float(ends.get(_pk(namespace, event), "0")) > now}

    def mark(self, namespace: str, events: Sequence[str]) -> None:
        """Mark one after the other."""
        until = {":x": {"N": str(int(self._clock.now() + SEEN_TTL))}}
        for event in events:
            self._table.update(_pk(namespace, event), "SET exp = :x", until)


def _key(namespace: str, event: str) -> str:
    # Imported here: a cache without Redis never imports its client.
    from stripe_cache.tiers.redis import record_key

    return f"{record_key(namespace, '#seen')}{event}"


def _pk(namespace: str, event: str) -> str:
    return f"{namespace}|#seen{event}"
