from __future__ import annotations

import asyncio
import socket
import uuid
from typing import TYPE_CHECKING

import pytest
import redis
from world import status_of

from stripe_cache import InvalidationError, ReadOnlyError, RequestError
from stripe_cache.tiers.rate_limit_redis import RedisBuckets
from stripe_cache_cdk.constructs.redis_access import READ_ONLY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from world import World

    from local.valkey import Valkey
    from stripe_cache.core.limiter import Demand, Grant

each_tier = pytest.mark.parametrize("tier", ["redis", "dynamodb"])


@pytest.fixture
def reader_url(valkey: Valkey) -> Iterator[str]:
    """Give the URL of a user that may do what the constructs' reader may do, and nothing else."""
    name, password = f"reader{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    with redis.Redis.from_url(valkey.url) as admin:
        admin.execute_command("ACL", "SETUSER", name, "reset", f">{password}", *READ_ONLY.split())
        yield f"redis://{name}:{password}@{valkey.host}:{valkey.port}/0"
        admin.execute_command("ACL", "DELUSER", name)


@each_tier
def test_a_read_only_process_finds_what_others_filled_and_changes_nothing(world: World, tier: str) -> None:
    first, second = world.seed(customers=2)["customers"]
    world.client(world.cache(tier)).v1.customers.retrieve(first)
    reader = world.client(world.cache(tier, read_only=True))
    for _ in range(2):
        assert "hit; ttl=" in status_of(reader.v1.customers.retrieve(first))
        assert status_of(reader.v1.customers.retrieve(second)) == "stripe-cache; fwd=uri-miss"
    assert world.origin_reads() == 3, "what it fetched was stored nowhere"


@each_tier
def test_its_reads_follow_the_invalidations_of_others(world: World, tier: str) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    writer, reader = world.client(world.cache(tier)), world.client(world.cache(tier, read_only=True))
    writer.v1.customers.retrieve(customer)
    assert reader.v1.customers.retrieve(customer).name != "New"
    writer.v1.customers.update(customer, params={"name": "New"})
    assert reader.v1.customers.retrieve(customer).name == "New"


@each_tier
def test_it_is_told_that_it_cannot_invalidate(world: World, tier: str) -> None:
    with pytest.raises(InvalidationError, match=f"{tier}: this process is read-only"):
        world.cache(tier, read_only=True).invalidate("cus_1")


@pytest.mark.parametrize("tiers", [("redis",), ("dynamodb",), ("memory", "redis", "dynamodb")])
def test_its_writes_are_refused_before_anything_is_sent(world: World, tiers: tuple[str, ...]) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    name = world.plain().v1.customers.retrieve(customer).name
    reader = world.client(world.cache(*tiers, read_only=True))
    calls = world.fake.counters()["total"]
    with pytest.raises(ReadOnlyError, match=rf"^POST /v1/customers/{customer} was not sent: .*STRIPE_CACHE_READ_ONLY"):
        reader.v1.customers.update(customer, params={"name": "New"})
    with pytest.raises(RequestError, match=rf"^DELETE /v1/customers/{customer} was not sent: .*without read_only"):
        reader.v1.customers.delete(customer)
    with pytest.raises(ReadOnlyError):
        asyncio.run(reader.v1.customers.update_async(customer, params={"name": "New"}))
    assert world.fake.counters()["total"] == calls
    assert world.plain().v1.customers.retrieve(customer).name == name


def test_a_question_asked_by_post_is_no_write(world: World) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    reader = world.cache("redis", read_only=True).http_client(world.plain()._requestor._client)
    headers = {"Authorization": f"Bearer {world.key()}"}
    before = world.fake.counters()["total"]
    url = f"{world.fake.url}/v1/invoices/create_preview"
    reader.request_with_retries("post", url, headers, f"customer={customer}", max_network_retries=0)
    assert world.fake.counters()["total"] == before + 1


def test_the_readers_user_on_the_server_can_do_all_that_a_read_only_process_does(world: World, reader_url: str) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    expanded = {"expand": ["data.default_source"], "limit": 1}
    writer = world.client(world.cache("redis"))
    writer.v1.customers.retrieve(customer)
    writer.v1.customers.list(expanded)
    reader = world.client(world.cache("redis", redis_url=reader_url, read_only=True))
    reads = world.origin_reads()
    assert "hit; ttl=" in status_of(reader.v1.customers.retrieve(customer))
    assert "hit; ttl=" in status_of(reader.v1.customers.list(expanded)), "what it embeds was checked, too"
    assert world.origin_reads() == reads
    writer.v1.customers.update(customer, params={"name": "New"})
    assert reader.v1.customers.retrieve(customer).name == "New"
    with pytest.raises(ReadOnlyError):
        reader.v1.customers.update(customer, params={"name": "Newer"})


def test_the_readers_user_is_refused_by_the_server_where_the_process_does_not_know_its_place(
    world: World, reader_url: str
) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    unaware = world.cache("redis", redis_url=reader_url)
    assert world.client(unaware).v1.customers.retrieve(customer).id == customer, "a read still answers"
    with pytest.raises(InvalidationError, match="redis"):
        unaware.invalidate(customer)
    with redis.Redis.from_url(reader_url) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.hset("sc1:{x|cus_1}", "g", "1")


def test_a_read_only_process_waits_for_a_silent_redis_once_and_not_for_its_tokens_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    asked: list[str] = []
    take = RedisBuckets.take

    def noted(buckets: RedisBuckets, demand: Demand, reserve: float) -> Grant:
        asked.append(demand.namespace)
        return take(buckets, demand, reserve)

    monkeypatch.setattr(RedisBuckets, "take", noted)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        for read_only in (False, True):
            cache = world.cache("redis", read_only=read_only, rate_limits={}, redis_url=url, redis_timeout=0.1)
            cache.get(f"/v1/customers/{customer}", api_key=world.key())
    assert asked == []
