"""What the cache asks Stripe on its own account passes the gate as well."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import stripe
from origin_help import KEY, Clock, Metrics, cache_for, calls, exhaust, retrieve_async

from local.fake_stripe.client import FakeStripe
from stripe_cache.core import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stripe_cache import StripeCache


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=4) as server:
        yield server


@pytest.fixture
def customer(fake: FakeStripe) -> str:
    fake.reset(state=True)
    return fake.seed(customers=1)["customers"][0]


def ways(cache: StripeCache, customer: str) -> list[str]:
    """Read in each of the three ways; return how each was answered."""
    return [
        str(cache.get(f"/v1/customers/{customer}", api_key=KEY).status),
        cache.client(KEY).v1.customers.retrieve(customer).last_response.headers["cache-status"],
        asyncio.run(retrieve_async(cache, customer)).last_response.headers["cache-status"],
    ]


def test_an_audit_takes_a_token_and_does_not_wait_for_one(customer: str, fake: FakeStripe) -> None:
    meter = Metrics()
    cache = cache_for(fake, Clock(), meter, audit_rate=1.0)
    cache.get(f"/v1/customers/{customer}", api_key=KEY)
    assert all("hit" in status for status in ways(cache, customer))
    before = calls(fake)
    assert (before, meter.counts[metrics.AUDIT_CHECKED], meter.counts[metrics.ORIGIN_READS]) == (4, 3, 4)
    exhaust(cache)
    # There is a turn within the two seconds that a read would wait.
    assert cache.engine.gate.deadline.patience() == 2.0
    assert all("hit" in status for status in ways(cache, customer))
    assert calls(fake) == before


def test_a_read_past_the_cache_takes_a_token_as_the_sweep_for_lost_events_does(fake: FakeStripe) -> None:
    cache = cache_for(fake, Clock(), origin_wait=0.0)
    cache.get("/v1/events", {"limit": 1}, api_key=KEY, cache_control="no-store")
    before = calls(fake)
    exhaust(cache)
    with pytest.raises(stripe.RateLimitError, match="not sent: the rate limit of"):
        cache.get("/v1/events", {"limit": 1}, api_key=KEY, cache_control="no-store")
    assert calls(fake) == before
