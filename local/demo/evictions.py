"""Redis losing entries now and then, as a cache under memory pressure does: what DynamoDB is there for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import redis

if TYPE_CHECKING:
    from local.valkey import Valkey

EVERY_SECONDS = 0.4


class Evictions:
    """Deletes a random record now and then until told to stop."""

    def __init__(self, valkey: Valkey) -> None:
        self.made = 0
        self._redis = redis.Redis.from_url(valkey.url, socket_timeout=2.0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Evict nothing more."""
        self._stop.set()
        self._thread.join()
        self._redis.close()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                key = self._redis.randomkey()
                # The counter and the broad records are in constant use: an LRU would not choose them.
                if isinstance(key, bytes) and not key.endswith((b"|#}", b"?*}")):
                    self.made += int(self._redis.delete(key))
            except redis.RedisError:
                # Busy for a moment; the next one will do.
                continue
