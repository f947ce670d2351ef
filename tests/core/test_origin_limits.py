from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
import stripe
from origin_help import (
    KEY,
    STALE_AFTER,
    Clock,
    Context,
    Metrics,
    allowed,
    calls,
    exhaust,
    retrieve_async,
)

from local.valkey import Valkey
from stripe_cache import Settings, StripeCache
from stripe_cache.core.errors import RateLimitedError
from stripe_cache.core.limiter import Demand, Grant
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.fake_stripe.client import FakeStripe


# Limits, as callers meet them.


def test_who_uses_the_sdk_catches_its_own_rate_limit_error(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe
) -> None:
    cache = make(Clock(), origin_wait=0.0)
    exhaust(cache)
    with pytest.raises(stripe.RateLimitError) as caught:
        cache.client(KEY).v1.customers.retrieve(customer)
    assert isinstance(caught.value, RateLimitedError)
    assert caught.value.http_status == 429
    assert caught.value.retry_after > 0
    assert "GET /v1/customers/{customer}" in str(caught.value) or "all of" in str(caught.value)
    with pytest.raises(stripe.RateLimitError):
        cache.get(f"/v1/customers/{customer}", api_key=KEY)
    with pytest.raises(RateLimitedError):
        asyncio.run(retrieve_async(cache, customer))
    assert calls(fake) == 0


def test_a_stale_entry_in_a_shared_tier_answers_and_says_why(customer: str, fake: FakeStripe) -> None:
    clock = Clock()
    with Valkey() as valkey:
        settings = Settings(
            api_base=fake.url,
            redis_url=valkey.url,
            namespace="acct_1",
            redis_timeout=2,
            policy={"customer": {"ttl": 60, "ttl_with_events": 60, "redis_ttl": 60, "stale_window": 600}},
            memory_max_bytes=0,
            rate_limits={"test": 1, "endpoint": 1},
        )
        cache = StripeCache(settings, engine=build(settings, clock=clock))
        cache.get(f"/v1/customers/{customer}", api_key=KEY)
        clock.at += 59.5
        exhaust(cache)
        clock.at += 0.6
        answer = cache.get(f"/v1/customers/{customer}", api_key=KEY)
    assert answer.status.stale
    assert answer.status.detail == "redis; stale-on-limit"
    assert calls(fake) == 1


def test_who_counted_on_a_stale_entry_that_is_gone_waits_after_all(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    with Valkey() as valkey:
        cache = make(
            clock, redis_url=valkey.url, namespace="acct_1", redis_timeout=2, policy=STALE_AFTER, memory_max_bytes=0
        )
        read = [
            lambda: cache.get(f"/v1/customers/{customer}", api_key=KEY).status,
            lambda: asyncio.run(retrieve_async(cache, customer)).last_response.headers["cache-status"],
        ]
        limiter = cache.engine.gate.limiter
        assert limiter is not None
        ask = limiter.ask
        patience: list[float] = []

        def voided_meanwhile(demand: Demand) -> Grant:
            patience.append(demand.patience)
            if demand.patience:
                return ask(demand)
            cache.invalidate(customer)
            return Grant(given=False, wait=0.1)

        read[0]()
        monkeypatch.setattr(limiter, "ask", voided_meanwhile)
        for one in read:
            clock.at += 61
            assert str(one()) == "stripe-cache; fwd=uri-miss; stored"
    assert patience == [0.0, 2.0, 0.0, 2.0]
    assert fake.counters()["total"] == 3


def test_a_critical_read_may_use_the_reserve(make: Callable[..., StripeCache], customer: str, fake: FakeStripe) -> None:
    clock = Clock()
    cache = make(clock, origin_wait=0.0)
    path = f"/v1/customers/{customer}"
    while allowed(lambda: cache.get(path, api_key=KEY, cache_control="no-store")):
        pass
    sent = calls(fake)
    assert cache.get(path, api_key=KEY, cache_control="no-store, critical").http_status == 200
    clock.at += 0.2
    while allowed(lambda: cache.get(path, api_key=KEY, cache_control="no-store")):
        sent += 1
    assert cache.client(KEY).v1.customers.update(customer, params={"name": "x"}).name == "x"
    assert calls(fake) == sent + 2


def test_waiting_ends_with_the_invocation(make: Callable[..., StripeCache], customer: str) -> None:
    clock = Clock()
    cache = make(clock, origin_wait=60.0, rate_limits={"test": 0.5, "endpoint": 0.5, "reserve": 0})
    cache.begin_invocation(Context(1500))
    path = f"/v1/customers/{customer}"
    cache.get(path, api_key=KEY, cache_control="no-store")
    began = time.monotonic()
    # The next token comes in two seconds; half a second may be spent on waiting for it.
    with pytest.raises(RateLimitedError, match=r"can wait 0\.50 s"):
        cache.get(path, api_key=KEY, cache_control="no-store")
    assert time.monotonic() - began < 0.4
    assert cache.engine.gate.deadline.read_timeout() == pytest.approx(1.2)
    # An invocation that is over says nothing about the next one.
    clock.at += 10
    assert cache.engine.gate.deadline.patience() == 60.0
    assert cache.engine.gate.deadline.read_timeout() == 10.0
    cache.begin_invocation()
    assert cache.engine.gate.deadline.patience() == 60.0


def test_a_call_waits_for_its_turn(make: Callable[..., StripeCache], customer: str) -> None:
    cache = make(rate_limits={"test": 4, "endpoint": 4, "reserve": 0})
    began = time.monotonic()
    for _ in range(4):
        cache.get(f"/v1/customers/{customer}", api_key=KEY, cache_control="no-store")
    assert time.monotonic() - began >= 0.5


def test_a_429_is_learnt_from_and_a_read_asks_again_in_its_turn(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe
) -> None:
    meter = Metrics()
    cache = make(meter=meter, rate_limits={"test": 1000, "endpoint": 1000})
    # The fake admits five at once and five a second; we do not know, and shall not show it.
    fake.configure(limits={"factor": 0.2})
    for _ in range(12):
        cache.get(f"/v1/customers/{customer}", api_key=KEY, cache_control="no-store")
        time.sleep(0.05)
    assert fake.counters()["rate_limited"]
    assert meter.counts["OriginRateLimited"] == sum(fake.counters()["rate_limited"].values())


def test_a_lock_timeout_is_passed_on_and_slows_nothing(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe
) -> None:
    cache = make()
    fake.configure(faults=[{"kind": "lock_timeout", "count": 1}])
    with pytest.raises(stripe.RateLimitError) as caught:
        cache.client(KEY).v1.customers.retrieve(customer)
    assert not isinstance(caught.value, RateLimitedError)
    assert calls(fake) == 1
    limiter = cache.engine.gate.limiter
    assert limiter is not None
    assert all(level.factor == 1.0 for levels in limiter._local.values() for level in levels.values())


def test_streams_pass_the_gate_and_our_directives_do_not_reach_stripe(
    make: Callable[..., StripeCache], fake: FakeStripe
) -> None:
    cache = make(Clock(), origin_wait=0.0)
    http_client = cache.http_client()
    headers = {"Authorization": f"Bearer {KEY}", "Cache-Control": "no-store"}
    stream, status, _ = http_client.request_stream_with_retries("get", f"{fake.url}/v1/prices", headers)
    assert status == 200
    assert b'"object": "list"' in stream.read()
    exhaust(cache)
    with pytest.raises(stripe.RateLimitError):
        http_client.request_stream_with_retries("get", f"{fake.url}/v1/prices", headers)
    http_client.close()  # type: ignore[no-untyped-call]  # the SDK leaves it unannotated


# The read allocation.


def test_reads_are_counted_across_processes_and_writes_are_not(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe
) -> None:
    with Valkey() as valkey:
        shared = {"redis_url": valkey.url, "namespace": "acct_1", "redis_timeout": 2}
        one, two = make(**shared), make(**shared)
        one.get(f"/v1/customers/{customer}", api_key=KEY)
        two.get(f"/v1/customers/{customer}", api_key=KEY)
        two.get("/v1/customers/search?query=name:'x'", api_key=KEY, cache_control="no-store")
        two.client(KEY).v1.customers.update(customer, params={"name": "x"})
        found = one.read_allocation(transactions=1000)
        assert (found.reads, found.allowance, found.complete) == (2, 500_000, True)
        assert found.reads == fake.counters()["reads"]
        assert one.read_allocation().allowance == 10_000
        assert one.read_allocation().used == pytest.approx(0.0002)
        valkey.kill()
        two.get(f"/v1/customers/{customer}", api_key=KEY, cache_control="no-store")
        lost = two.read_allocation()
        assert (lost.reads, lost.complete) == (1, False)
