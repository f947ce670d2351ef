"""What the tests of the gate to Stripe have in common."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import stripe

from stripe_cache import Settings, StripeCache
from stripe_cache.core.errors import RateLimitedError
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.fake_stripe.client import FakeStripe

KEY = "sk_test_a"
STALE_AFTER = {"customer": {"ttl": 60, "ttl_with_events": 60, "stale_window": 600}}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = time.time()

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Metrics:
    def __init__(self) -> None:
        self.counts: dict[str, float] = {}

    def count(self, metric: str, value: float = 1, *, tier: str = "", object_type: str = "") -> None:
        del tier, object_type
        self.counts[metric] = self.counts.get(metric, 0) + value

    def observe(self, metric: str, milliseconds: float, *, tier: str = "", object_type: str = "") -> None:
        """Durations are not looked at here."""


class Context:
    """What Lambda gives a handler, as far as we look at it."""

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


def cache_for(
    fake: FakeStripe, clock: Clock | None = None, meter: Metrics | None = None, **options: Any
) -> StripeCache:
    """Build a cache in front of the fake."""
    settings = Settings(api_base=fake.url, **options)
    return StripeCache(settings, engine=build(settings, clock=clock, meter=meter))


def calls(fake: FakeStripe) -> int:
    total: int = fake.counters()["total"]
    return total


def exhaust(cache: StripeCache) -> None:
    """Use up every token, without calling anybody."""
    gate = cache.engine.gate
    call = cache.engine.origin_call(cache._request("/v1/customers/cus_1", None, (KEY, "", "", "")), None, critical=True)
    gate.deadline._wait, wait = 0.0, gate.deadline._wait
    while allowed(lambda: gate.call(call, lambda: (b"", 200, {}))):
        pass
    gate.deadline._wait = wait


def allowed(call: Callable[[], Any]) -> bool:
    """Make a call; tell whether the limits let it out."""
    try:
        call()
    except RateLimitedError:
        return False
    return True


def chained(cause: Exception) -> Exception:
    error = stripe.APIConnectionError("broken")  # type: ignore[no-untyped-call]  # the SDK leaves it unannotated
    error.__cause__ = RuntimeError("Connection aborted.", cause)
    return error


async def retrieve_async(cache: StripeCache, customer: str, options: Any = None) -> stripe.Customer:
    http_client = cache.http_client()
    client = stripe.StripeClient(KEY, http_client=http_client, base_addresses={"api": cache.settings.api_base})
    try:
        return await client.v1.customers.retrieve_async(customer, options=options)
    finally:
        await http_client.close_async()  # type: ignore[no-untyped-call]  # the SDK leaves it unannotated


def no_cache() -> Any:
    return {"headers": {"Cache-Control": "no-cache"}}
