"""Several processes in front of the fake Stripe at its real limits, which it enforces and counts."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from local.fake_stripe.client import FakeStripe
from local.valkey import Valkey
from local.workers import WorkerPool
from stripe_cache import Settings, StripeCache

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESSES = 4


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture(scope="module")
def stripe_server() -> Iterator[FakeStripe]:
    with FakeStripe(seed=3) as server:
        yield server


@pytest.fixture
def fake(stripe_server: FakeStripe) -> FakeStripe:
    stripe_server.reset(state=True)
    stripe_server.configure(limits={"factor": 1})
    return stripe_server


def offer(pool: WorkerPool, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let one worker work on each event, all at once."""
    results: list[Any] = [None] * len(events)

    def one(index: int) -> None:
        results[index] = pool.invoke(events[index], timeout=60)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(events))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.error for result in results] == [None] * len(events)
    return [result.payload for result in results]


def environment(fake: FakeStripe, redis_url: str, **settings: str) -> dict[str, str]:
    return {
        "STRIPE_CACHE_NAMESPACE": f"acct_{time.time_ns()}",
        "STRIPE_CACHE_API_BASE": fake.url,
        "STRIPE_CACHE_REDIS_URL": redis_url,
        "STRIPE_CACHE_REDIS_TIMEOUT": "1",
        **{f"STRIPE_CACHE_{name}": value for name, value in settings.items()},
    }


def total(payloads: list[dict[str, Any]]) -> Counter[str]:
    return sum((Counter({k: v for k, v in one.items() if k != "slowest"}) for one in payloads), Counter())


def test_ten_times_the_limit_offered_by_four_processes_brings_no_429(fake: FakeStripe, valkey: Valkey) -> None:
    paths = [f"/v1/customers/{name}" for name in fake.seed(customers=20)["customers"]]
    seconds = 4
    # 8 threads x 4 processes, each pausing 0.1 s after a refusal or an answer: about 250 a second and more.
    event = {"seconds": seconds, "threads": 8, "paths": paths, "pause": 0.1}
    with WorkerPool(PROCESSES, "origin_worker:handler", environment(fake, valkey.url, ORIGIN_WAIT="0")) as pool:
        pool.warm()
        seen = total(offer(pool, [event] * PROCESSES))
    counters = fake.counters()
    assert counters["rate_limited"] == {}
    assert set(seen) == {"ok", "refused"}
    assert seen["ok"] + seen["refused"] > 25 * seconds * 7
    # Within the limit, and not far below it.
    assert 25 * seconds * 0.8 <= seen["ok"] <= 25 * seconds + 25
    assert counters["reads"] == seen["ok"]


def test_many_endpoints_together_keep_to_the_limit_of_the_account(fake: FakeStripe, valkey: Valkey) -> None:
    fake.seed(customers=3, livemode=True)
    paths = [f"/v1/{name}?limit=1" for name in ("customers", "prices", "products", "subscriptions", "invoices")]
    paths += [f"/v1/{name}?limit=1" for name in ("coupons", "plans", "charges", "refunds", "payouts")]
    event = {"seconds": 3, "threads": 12, "paths": paths, "key": "sk_live_a"}
    with WorkerPool(PROCESSES, "origin_worker:handler", environment(fake, valkey.url, ORIGIN_WAIT="1")) as pool:
        pool.warm()
        seen = total(offer(pool, [event] * PROCESSES))
    assert fake.counters()["rate_limited"] == {}
    assert "429" not in seen
    assert 3 * 100 * 0.7 <= seen["ok"] <= 4 * 100 + 100


def test_writes_keep_their_reserve_while_reads_are_queueing(fake: FakeStripe, valkey: Valkey) -> None:
    names = fake.seed(customers=5)["customers"]
    reads = {"seconds": 4, "threads": 20, "paths": [f"/v1/customers/{name}" for name in names]}
    writes = {"seconds": 4, "paths": [f"/v1/customers/{names[0]}"], "writes": True, "pause": 0.3}
    with WorkerPool(PROCESSES, "origin_worker:handler", environment(fake, valkey.url)) as pool:
        pool.warm()
        *read, written = offer(pool, [reads, reads, reads, writes])
    assert fake.counters()["rate_limited"] == {}
    assert set(written) == {"ok", "slowest"}
    assert written["ok"] >= 8
    # A read in the queue waits up to two seconds.
    assert written["slowest"] < 0.6
    assert max(one["slowest"] for one in read) > written["slowest"]


def test_with_redis_dead_each_process_keeps_to_its_share(fake: FakeStripe) -> None:
    paths = [f"/v1/customers/{name}" for name in fake.seed(customers=5)["customers"]]
    event = {"seconds": 2, "threads": 4, "paths": paths, "pause": 0.02}
    limits = f'{{"processes": {PROCESSES}}}'
    server = Valkey()
    try:
        settings = environment(fake, server.url, ORIGIN_WAIT="0.2", RATE_LIMITS=limits)
        with WorkerPool(PROCESSES, "origin_worker:handler", settings) as pool:
            pool.warm()
            before = total(offer(pool, [event] * PROCESSES))
            server.stop()
            after = total(offer(pool, [event] * PROCESSES))
    finally:
        server.stop()
    assert before["ok"] >= 40
    # 2 seconds at the limit: nobody stops for want of Redis, and nobody takes the whole limit for himself.
    assert 25 <= after["ok"] <= 75
    assert fake.counters()["rate_limited"] == {}
    assert set(before) | set(after) == {"ok", "refused"}


def test_limits_can_be_turned_off(fake: FakeStripe) -> None:
    fake.configure(limits={})
    settings = Settings.from_env({"STRIPE_CACHE_RATE_LIMITS": "off", "STRIPE_CACHE_API_BASE": fake.url})
    cache = StripeCache(settings)
    for _ in range(60):
        cache.get("/v1/prices", api_key="sk_test_a", cache_control="no-store")
    assert cache.engine.gate.limiter is None
    assert cache.read_allocation(livemode=False).reads == 60
