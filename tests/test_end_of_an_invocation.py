"""A Lambda invocation about to end: a frozen tier costs what is left of it, and no more."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes import FakeClock

from local.valkey import Valkey
from stripe_cache import Settings, StripeCache
from stripe_cache.core.errors import InvalidationError
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from local.dynamodb import DynamoDB
    from local.fake_stripe.client import FakeStripe

KEY = "sk_test_end"


def context(seconds: float) -> Any:
    return SimpleNamespace(get_remaining_time_in_millis=lambda: int(seconds * 1000))


def cache_of(fake_stripe: FakeStripe, **given: Any) -> StripeCache:
    """Build a cache whose own clock stands still: on a slow machine the invocation would be over before its time."""
    settings = Settings(namespace="acct_end", api_base=fake_stripe.url, memory_max_bytes=0, rate_limits=None, **given)
    return StripeCache(settings, engine=build(settings, clock=FakeClock()))


def test_a_frozen_redis_takes_what_is_left_and_not_its_own_timeout(fake_stripe: FakeStripe) -> None:
    with Valkey() as valkey:
        cache = cache_of(fake_stripe, redis_url=valkey.url, redis_timeout=20.0)
        cache.begin_invocation(context(60.0))
        cache.get("/v1/balance", api_key=KEY)
        cache.invalidate("/v1/balance")
        valkey.freeze()
        cache.begin_invocation(context(0.6))
        began = time.monotonic()
        assert cache.get("/v1/products", api_key=KEY).data["object"] == "list"
        with pytest.raises(InvalidationError):
            cache.invalidate("cus_1")
        assert time.monotonic() - began < 10.0
        valkey.thaw()
        cache.begin_invocation(context(60.0))
        assert "redis" in cache.invalidate("cus_1"), "the tier was asked all the same, and is well"


def test_a_table_that_could_outlast_the_invocation_is_not_asked_and_not_blamed(
    fake_stripe: FakeStripe, dynamodb: DynamoDB, table: str, aws: None
) -> None:
    del aws
    cache = cache_of(fake_stripe, table=table, dynamodb_timeout=20.0)
    cache.begin_invocation(context(60.0))
    assert cache.get("/v1/products", api_key=KEY).status.hit is False
    assert cache.get("/v1/products", api_key=KEY).status.hit is True
    cache.begin_invocation(context(5.0))
    began = time.monotonic()
    dynamodb.freeze()
    try:
        answer = cache.get("/v1/products", api_key=KEY)
    finally:
        dynamodb.thaw()
    assert time.monotonic() - began < 5.0
    assert answer.status.hit is False
    cache.begin_invocation(context(60.0))
    assert cache.get("/v1/products", api_key=KEY).status.hit is True, "the tier was not left alone for it"
