"""Everything that speaks to Redis, as the user the constructs make, over TLS, on a cluster with replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from fakes import stored_of
from tier_contract import HOUR
from tiers.redis_contract import RedisContract

from stripe_cache.core.clock import SystemClock
from stripe_cache.core.key import Key
from stripe_cache.core.limiter import Demand
from stripe_cache.core.ports import NO_HOLD, Slot
from stripe_cache.core.purge import Terms
from stripe_cache.core.rate_limits import Bucket
from stripe_cache.core.sealing import UNSEALED
from stripe_cache.tiers.cursor_redis import RedisCursors
from stripe_cache.tiers.rate_limit_redis import RedisBuckets
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_purge import RedisSearch
from stripe_cache.tiers.redis_url import parse
from stripe_cache.tiers.refresh_locks import RedisLock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes import RecordingMeter

    from local.redis_cluster import RedisCluster
    from local.redis_tls import Authority
    from stripe_cache.tiers.redis_cluster_wire import ClusterWire
    from stripe_cache.tiers.redis_wire import Wire

READS = {"get", "hget", "hmget", "hgetall", "hkeys", "exists", "ttl", "eval", "evalsha", "scan", "type"}


@pytest.fixture(scope="module")
def wire(serverless: RedisCluster) -> Wire | ClusterWire:
    return connect(parse(serverless.url), 20.0)


@pytest.fixture(scope="module")
def raw(serverless: RedisCluster, authority: Authority) -> Iterator[redis.RedisCluster]:
    """Connect as the user who may do everything."""
    client = redis.RedisCluster(
        host="127.0.0.1", port=serverless.nodes[0].port, ssl=True, ssl_ca_certs=str(authority.certificate), protocol=2
    )
    yield client
    client.close()


@pytest.fixture
def tier(wire: Wire | ClusterWire, meter: RecordingMeter) -> RedisTier:
    return RedisTier(lambda: wire, meter)


class TestContract(RedisContract):
    """So does what comes nearest to ElastiCache Serverless."""


def test_the_user_may_do_nothing_that_serverless_lacks_and_nothing_with_others_keys(wire: Wire | ClusterWire) -> None:
    refused = [("KEYS", "sc1:*"), ("CONFIG", "GET", "*"), ("FLUSHALL", "ASYNC"), ("OBJECT", "FREQ", "sc1:x")]
    for command in [*refused, ("GET", "other:1"), ("DEL", "other:1")]:
        with pytest.raises(redis.exceptions.NoPermissionError):
            wire.execute_command(*command)


def test_limits_locks_cursors_and_the_count_of_reads_work(wire: Wire | ClusterWire, namespace: str) -> None:
    buckets = RedisBuckets(lambda: wire)
    bucket = Bucket("", 100.0)
    demand = Demand(namespace, (bucket, Bucket("read", 25.0)), urgent=False, patience=0.0, reads=1)
    assert buckets.take(demand, 0.1).given
    buckets.shrink(namespace, bucket, 0.1)
    assert not buckets.take(demand, 0.1).given
    buckets.add(namespace, 20_000, 3)
    assert buckets.by_day(namespace, [20_000, 20_001]) == {20_000: 3}
    lock = RedisLock(lambda: wire)
    assert [lock.acquire(namespace, "v1", 30.0) for _ in range(2)] == [True, False]
    cursors = RedisCursors(lambda: wire)
    cursors.save(namespace, "here", 0.0)
    assert cursors.load(namespace) == "here"


def test_a_purge_finds_and_forgets_on_every_node(purger: str, tier: RedisTier, namespace: str) -> None:
    customers = {f"cus_{number}" for number in range(30)}
    for record in customers:
        key = Key.of(namespace, record, "v")
        (state,), _ = tier.touch(namespace, [record], "token", HOUR)
        tier.store(key, state.generation, stored_of(b'{"customer": "cus_x", "email": "a@b.test"}'), HOUR)
    search = RedisSearch(lambda: connect(parse(purger), 10.0), SystemClock(), UNSEALED)
    found: set[str] = set()
    cursor, pages = "", 0
    while pages == 0 or cursor:
        page = search.search(namespace, Terms(["A@B.test"]), cursor)
        found |= set(page.matching)
        cursor, pages = page.cursor, pages + 1
    assert found == customers
    assert pages >= 3
    assert search.forget(namespace, sorted(customers)) == ()


def test_no_replica_is_ever_asked_for_a_record(serverless: RedisCluster, tier: RedisTier, namespace: str) -> None:
    """The servers' own statistics say so: a replica may lag, and a generation it tells may be a dead one."""
    replicas = serverless.replicas()
    assert len(replicas) == 3
    before = [node.calls() for node in replicas]
    records = [f"cus_{number}" for number in range(40)]
    for _ in range(5):
        tier.touch(namespace, records, "t", HOUR)
        for record in records:
            tier.store(Key.of(namespace, record, "v1"), "t", stored_of(), HOUR)
        tier.read(namespace, [Slot(record, Key.of(namespace, record, "v1")) for record in records])
        tier.void(namespace, records[:5], "t", NO_HOLD)
        tier.count(namespace, finished=1)
    for node, earlier in zip(replicas, before, strict=True):
        asked = {name for name, calls in node.calls().items() if calls > earlier.get(name, 0)}
        # What the master passes on runs there as plain writes, never as a script or a read.
        assert not asked & READS
        assert "readonly" not in node.calls()
    masters = [node.calls() for node in serverless.masters()]
    assert all(calls["hmget"] and calls["evalsha"] for calls in masters)
