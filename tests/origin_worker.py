"""What a worker process does in the tests of the limits: ask Stripe as fast as it is let, for a while."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import stripe

from stripe_cache import Settings, StripeCache
from stripe_cache.core.errors import RateLimitedError

_CACHE: dict[str, StripeCache] = {}


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Read `paths` from `threads` threads for `seconds`, pausing `pause` after each call; count what comes back.

    `writes` are posted instead. The slowest call is returned in seconds.
    """
    cache = _CACHE.setdefault("one", StripeCache(Settings.from_env()))
    key = event.get("key", "sk_test_a")
    client = cache.client(key)
    ends = time.monotonic() + event["seconds"]
    seen: Counter[str] = Counter()
    slowest = [0.0]
    lock = threading.Lock()

    def once(path: str) -> str:
        try:
            if event.get("writes"):
                client.raw_request("post", path, name="x")
            else:
                cache.get(path, api_key=key, cache_control=event.get("cache_control", "no-store"))
        except RateLimitedError:
            return "refused"
        except stripe.RateLimitError:
            return "429"
        except stripe.StripeError as error:
            return type(error).__name__
        return "ok"

    def work(number: int) -> None:
        turn = number
        while time.monotonic() < ends:
            began = time.monotonic()
            outcome = once(event["paths"][turn % len(event["paths"])])
            turn += 1
            with lock:
                seen[outcome] += 1
                slowest[0] = max(slowest[0], time.monotonic() - began)
            time.sleep(event.get("pause", 0))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(event.get("threads", 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {**seen, "slowest": slowest[0]}
