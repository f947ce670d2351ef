"""Many threads, forks, cancelled callers, late writes: what a process does to itself is no sickness of a tier."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import stripe
from fakes import RecordingMeter, until
from world import status_of

from stripe_cache import InvalidationError, NotAnEventError, NotCachedError, RequestError
from stripe_cache.core import metrics
from stripe_cache.tiers.redis import record_key
from stripe_cache.tiers.redis_connection import MAX_CONNECTIONS

if TYPE_CHECKING:
    import redis
    from tap import Tap
    from world import World

THREADS = MAX_CONNECTIONS * 3


def test_more_threads_than_connections_wait_their_turn(world: World) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    meter = RecordingMeter()
    cache = world.cache("redis", meter=meter)
    cache.get(f"/v1/customers/{customer}", api_key=world.key())
    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(
            threads.map(lambda _: cache.get(f"/v1/customers/{customer}", api_key=world.key()), range(THREADS * 4))
        )
        told = list(threads.map(lambda number: cache.invalidate(f"cus_{number}"), range(THREADS)))
    assert {answer.status.tier for answer in answers} == {"redis"}
    assert world.origin_reads() == 1
    assert all(one["redis"] for one in told)
    assert meter.total(metrics.TIER_ERROR) == 0


@pytest.mark.parametrize("tier", ["redis", "dynamodb"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_invalidates_with_connections_and_threads_of_its_own(world: World, tier: str) -> None:
    cache = world.cache(tier)
    records = ["cus_1", "cus_2", "cus_3"]
    cache.engine.invalidate(records)
    child = os.fork()
    if not child:
        try:
            done = cache.engine.invalidate(records)
        except BaseException:  # noqa: BLE001 (the child may only leave by _exit)
            done = {}
        os._exit(0 if done else 1)
    deadline = time.monotonic() + 60
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    if not ended[0]:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert ended == (child, 0)


def test_a_write_that_stripe_performs_after_its_sender_gave_up_leaves_nothing_old(world: World, tap: Tap) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    cache = world.cache("redis", "dynamodb", api_base=tap.url)
    reader = world.client(world.cache("redis", "dynamodb", api_base=tap.url))
    inner = stripe.RequestsClient(timeout=0.5)
    world.opened.append(inner)
    writer = cache.client(world.key(), http_client=inner)
    tap.gate.clear()
    with pytest.raises(stripe.APIConnectionError):
        writer.v1.customers.update(customer, params={"name": "Late"})
    tap.gate.set()
    assert reader.v1.customers.retrieve(customer).last_response is not None
    deadline = time.monotonic() + 30
    while world.plain().v1.customers.retrieve(customer).name != "Late" and time.monotonic() < deadline:
        reader.v1.customers.retrieve(customer)
    assert reader.v1.customers.retrieve(customer).name == "Late"


def test_a_cancelled_reader_makes_nobody_wait(world: World, tap: Tap) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    cache = world.cache("redis", api_base=tap.url)
    other = world.client(world.cache("redis", api_base=tap.url))

    async def cancelled() -> None:
        client = cache.client(world.key())
        tap.gate.clear()
        call = asyncio.create_task(client.v1.customers.retrieve_async(customer))
        await until(lambda: len(tap.seen) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        tap.gate.set()
        await client._requestor._client.close_async()  # type: ignore[union-attr, no-untyped-call]

    asyncio.run(cancelled())
    before = time.monotonic()
    assert "fwd=uri-miss" in status_of(world.client(cache).v1.customers.retrieve(customer))
    assert "hit" in status_of(other.v1.customers.retrieve(customer))
    assert time.monotonic() - before < 4.5, "a claim that nobody serves any more would have cost a minute"


@pytest.mark.parametrize("kind", ["record", "counter"])
def test_somebody_elses_key_under_our_name_makes_way(world: World, raw_redis: redis.Redis, kind: str) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    raw_redis.set(record_key(world.namespace, customer if kind == "record" else "#"), "foreign", ex=600)
    meter = RecordingMeter()
    reader = world.client(world.cache("redis", meter=meter))
    reader.v1.customers.retrieve(customer)
    assert "hit" in status_of(reader.v1.customers.retrieve(customer))
    assert world.cache("redis").invalidate(customer)
    assert meter.counts[metrics.CORRUPT_ENTRY, "redis"] == (1 if kind == "record" else 0)
    assert meter.total(metrics.TIER_ERROR) == 0


def test_every_namespace_is_told_although_one_could_not_be(world: World) -> None:
    cache = world.cache("redis", "dynamodb", redis_url="redis://127.0.0.1:1/0")
    with pytest.raises(InvalidationError) as refused:
        cache.invalidate("cus_1")
    assert set(refused.value.failed) == {"redis"}
    assert refused.value.done["dynamodb"] == 2, "the live and the test namespace"


@pytest.mark.parametrize("given", [{"account": "acct_1\n"}, {"account": 5}, {"livemode": "yes"}])
def test_an_invalidation_for_nobody_is_refused(world: World, given: dict[str, object]) -> None:
    with pytest.raises(RequestError, match="name no account's cache"):
        world.cache().invalidate("cus_1", **given)  # type: ignore[arg-type]  # what a caller without types might pass


@pytest.mark.parametrize("body", [{}, {"object": "customer", "id": 5}, {"object": "customer", "id": "cus_\x00x"}])
def test_an_event_about_nothing_is_none(world: World, body: dict[str, object]) -> None:
    event = {"id": "evt_1", "object": "event", "type": "customer.updated", "livemode": False, "data": {"object": body}}
    with pytest.raises(NotAnEventError):
        world.cache().apply_event(event)
    told = {**event, "livemode": "yes", "data": {"object": {"id": "cus_1"}}}
    with pytest.raises(NotAnEventError, match="livemode"):
        world.cache().apply_event(told)


def test_only_if_cached_never_calls_for_what_is_never_cached(world: World) -> None:
    with pytest.raises(NotCachedError):
        world.cache().get("/v1/balance", api_key=world.key(), cache_control="only-if-cached")
    with pytest.raises(stripe.APIError, match="never cached"):
        world.client(world.cache()).v1.balance.retrieve(options={"headers": {"Cache-Control": "only-if-cached"}})
    assert world.origin_reads() == 0


@pytest.mark.parametrize(
    "given",
    [
        {"path": None},
        {"path": b"/v1/customers"},
        {"path": "/v1/customers", "params": [1]},
        {"path": "/v1/customers", "params": {"email": "\ud800"}},
        {"path": "/v1/customers", "stripe_account": None},
        {"path": "/v1/customers", "stripe_account": "acct\r\nX"},
    ],
)
def test_what_cannot_be_asked_is_an_error_of_ours(world: World, given: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        world.cache().get(**{"api_key": world.key(), **given})  # type: ignore[arg-type]  # as above
