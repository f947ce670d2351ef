"""The names of all records of a namespace in Redis: what is void when so much was missed that nobody knows what."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import redis

from stripe_cache.core.errors import TierError
from stripe_cache.tiers.redis import PREFIX
from stripe_cache.tiers.redis_cluster_wire import ClusterWire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_COUNT = 500


def redis_names(connect: Callable[[], Any]) -> Callable[[str], Iterator[list[str]]]:
    """Return what lists the names with SCAN, a page at a time, on every primary of a cluster.

    A record that is there from the first page to the last is listed, perhaps twice: so Redis promises. One that comes
    into being in between was filled after that.
    """

    def pages(namespace: str) -> Iterator[list[str]]:
        start = f"{PREFIX}:{{{namespace}|"
        try:
            client = connect()
            asks: list[Callable[..., Any]] = [client.execute_command]
            if isinstance(client, ClusterWire):
                asks = [partial(client.ask, node) for node in client.masters()]
            for ask in asks:
                cursor = 0
                while True:
                    following, keys = ask("SCAN", cursor, "MATCH", f"{start}*", "COUNT", _COUNT)
                    names = [key[len(start) : -1].decode() for key in keys if key.endswith(b"}") and key.isascii()]
                    # Counters, limits, locks and marks are no records.
                    if found := [name for name in names if name and not name.startswith("#")]:
                        yield found
                    cursor = int(following)
                    if not cursor:
                        break
        except (redis.RedisError, OSError) as error:
            raise TierError(f"redis: {type(error).__name__}") from error

    return pages
