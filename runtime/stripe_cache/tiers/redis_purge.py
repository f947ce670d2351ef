"""Searching Redis for what is about somebody: SCAN over one namespace, at most a few hundred keys a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from stripe_cache.core.errors import TierError
from stripe_cache.core.key import Key
from stripe_cache.core.purge import Page
from stripe_cache.tiers import codec
from stripe_cache.tiers.redis import PREFIX, record_key
from stripe_cache.tiers.redis_cluster_wire import ClusterWire
from stripe_cache.tiers.redis_scripts import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.purge import Terms
    from stripe_cache.core.sealing import Sealer

_COUNT = 200
_HOT = "#hot"
"""Notes of what is read often (`heat_redis.py`) name it, and quote how it was read."""
# ARGV: now. A hold is "<token>@<until>"; one that does not say until when counts as standing.
FORGET = Script(
    """
for hold in string.gmatch(redis.call('HGET', KEYS[1], 'h') or '', '[^,]+') do
  local ends = tonumber(string.match(hold, '@(%d+)$'))
  if not ends or ends > tonumber(ARGV[1]) then return 0 end
end
redis.call('DEL', KEYS[1])
return 1
"""
)


class RedisSearch:
    """Searches and forgets. `connect` makes a client whose deadlines suit pages of a scan, not single reads."""

    name = "redis"

    def __init__(self, connect: Callable[[], Any], clock: Clock, sealer: Sealer) -> None:
        self._connect = connect
        self._connected: Any = None
        self._clock = clock
        self._sealer = sealer

    def search(self, namespace: str, terms: Terms, cursor: str) -> Page:
        """Look at one SCAN page of one node."""
        try:
            names, following = self._scan(f"{PREFIX}:{{{namespace}|*", cursor)
            examined, matching, unreadable = 0, set(), set()
            start = f"{PREFIX}:{{{namespace}|"
            notes = [name[len(start) :] for name in names if name.startswith(f"{start}{_HOT}}}")]
            for name in names:
                if not name.endswith("}"):
                    continue
                record = name[len(start) : -1]
                if record.startswith("#"):
                    # Counters, limits and locks: they hold nothing of anybody's, and are no records.
                    continue
                if terms.name(record):
                    matching.add(record)
                for field, raw in self._values(name):
                    examined += 1
                    key = Key.of(namespace, record, field)
                    try:
                        stored = codec.decode(self._sealer.open(raw, key), key.binding)
                    except TierError:
                        unreadable.add(record)
                        continue
                    if terms.match(stored):
                        matching.add(record)
            found = [note for note in notes if terms.name(note) or self._says(f"{start}{note}", terms)]
        except (redis.RedisError, OSError) as error:
            raise TierError(f"redis: {type(error).__name__}") from error
        left = tuple(sorted(unreadable - matching))
        return Page(examined, tuple(sorted(matching)), left, following, tuple(sorted(found)))

    def forget(self, namespace: str, names: Sequence[str]) -> tuple[str, ...]:
        """Delete the keys of records without a hold, and notes."""
        now = int(self._clock.now())
        try:
            return tuple(
                name
                for name in names
                if not self._client().execute_command("EVAL", FORGET.source, 1, _key(namespace, name), now)
            )
        except (redis.RedisError, OSError) as error:
            raise TierError(f"redis: {type(error).__name__}") from error

    def _says(self, name: str, terms: Terms) -> bool:
        texts = self._client().execute_command("HVALS", name)
        return any(terms.name(text.decode("utf-8", "surrogateescape")) for text in texts)

    def _values(self, name: str) -> Iterator[tuple[str, bytes]]:
        # One value at a time: a record may hold many, and each may be large.
        for field in self._client().execute_command("HKEYS", name):
            if field.startswith(b"v"):
                raw = self._client().execute_command("HGET", name, field)
                if raw is not None:
                    yield field[1:].decode("utf-8", "replace"), raw

    def _scan(self, pattern: str, cursor: str) -> tuple[list[str], str]:
        """Scan a page of one node; the cursor says which node, by its place among the sorted primaries."""
        client = self._client()
        at, _, inner = cursor.partition("/")
        command = ("SCAN", inner or 0, "MATCH", pattern, "COUNT", _COUNT)
        if isinstance(client, ClusterWire):
            nodes = client.masters()
            index = int(at or 0)
            if index >= len(nodes):
                raise TierError("redis: the cluster has fewer masters than when the search began: begin it again")
            following, names = client.ask(nodes[index], *command)
            last = index + 1 == len(nodes)
        else:
            index, last = 0, True
            following, names = client.execute_command(*command)
        # What is no text, or goes on after the brace and is no note of ours, is none of ours.
        hot = f"|{_HOT}}}".encode()
        found = [name.decode() for name in names if (name.endswith(b"}") or hot in name) and name.isascii()]
        if int(following):
            return found, f"{index}/{int(following)}"
        return found, "" if last else f"{index + 1}/0"

    def _client(self) -> Any:
        if self._connected is None:
            self._connected = self._connect()
        return self._connected


def _key(namespace: str, name: str) -> str:
    return f"{PREFIX}:{{{namespace}|{name}" if name.startswith(f"{_HOT}}}") else record_key(namespace, name)
