"""Notes of what is hot: hashes `sc1:{namespace|#hot}<record>`, a field per variant, a namespace in one slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stripe_cache.core.errors import TierError
from stripe_cache.core.heat import MOST_VARIANTS, NOTE_TTL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NOTE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('EXPIRE', KEYS[1], ARGV[4])
"""
_TAKE = """
local found = {}
for i = 1, #KEYS do
  for _, text in ipairs(redis.call('HVALS', KEYS[i])) do found[#found + 1] = text end
  redis.call('DEL', KEYS[i])
end
return found
"""


class RedisHeat:
    """One script to note, one to take. `connect` returns the client; thread-safe as that is."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect

    def note(self, namespace: str, record: str, variant: str, text: str) -> None:
        """Keep the note, and with it those of the record's other variants."""
        self._run(_NOTE, [_key(namespace, record)], variant, text, MOST_VARIANTS, NOTE_TTL)

    def take(self, namespace: str, records: Sequence[str]) -> list[str]:
        """Take them in one step: of two callers one gets them."""
        found = self._run(_TAKE, [_key(namespace, record) for record in records])
        return [text.decode("utf-8", "replace") for text in found]

    def _run(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        import redis

        try:
            return self._connect().execute_command("EVAL", script, len(keys), *keys, *arguments)
        except (redis.RedisError, OSError) as error:
            raise TierError(f"redis: {type(error).__name__}: {error}") from error


def _key(namespace: str, record: str) -> str:
    # Imported here: a cache without Redis never imports its client.
    from stripe_cache.tiers.redis import record_key

    return f"{record_key(namespace, '#hot')}{record}"
