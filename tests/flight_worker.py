"""What a worker process does in the tests of shared calls: read one path from many threads at once."""

from __future__ import annotations

import threading
import time
from typing import Any

import stripe

from stripe_cache import Settings, StripeCache

_CACHE: dict[str, StripeCache] = {}


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Read `path` from `readers` threads, all at the wall-clock time `at`; return names, errors and the slowest.

    Without a path it only gets ready: connections are open and scripts are loaded afterwards.
    """
    cache = _CACHE.setdefault("one", StripeCache(Settings.from_env()))
    key = event["key"]
    found: list[str] = []
    slowest = [0.0]
    lock = threading.Lock()

    def work() -> None:
        time.sleep(max(0.0, event.get("at", 0.0) - time.time()))
        began = time.monotonic()
        try:
            said = cache.get(event["path"], api_key=key).data.get("name") or ""
        except stripe.StripeError as error:
            said = type(error).__name__
        with lock:
            found.append(said)
            slowest[0] = max(slowest[0], time.monotonic() - began)

    threads = [threading.Thread(target=work) for _ in range(event.get("readers", 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"found": found, "slowest": slowest[0]}
