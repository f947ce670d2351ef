"""A cluster in trouble: what moved is followed, what is lost costs one deadline, and nothing is sent twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from fakes import eventually, key_of, stored_of

from stripe_cache.core.errors import ConfigurationError, TierError
from stripe_cache.core.ports import NO_HOLD, NullMeter, Slot
from stripe_cache.tiers.redis import RedisTier, record_key
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_url import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.redis_cluster import Node, RedisCluster
    from local.valkey import Valkey

TIMEOUT = 0.3
RECORDS = [f"cus_{number}" for number in range(30)]


@pytest.fixture(autouse=True)
def _whole(cluster: RedisCluster) -> Iterator[None]:
    yield
    for node in cluster.living():
        node.thaw()
    cluster.wait_until_whole()


@pytest.fixture
def tier(cluster: RedisCluster) -> RedisTier:
    return RedisTier(lambda: connect(parse(cluster.url), TIMEOUT), NullMeter())


def on(cluster: RedisCluster, node: Node, namespace: str) -> list[str]:
    """Name the records that live on a master."""
    return [record for record in RECORDS if cluster.master_of(record_key(namespace, record)) is node]


def test_a_planned_failover_is_followed_without_an_error(
    cluster: RedisCluster, tier: RedisTier, namespace: str
) -> None:
    tier.touch(namespace, RECORDS, "t1", 60)
    new = cluster.fail_over()
    readings = tier.read(namespace, [Slot(record) for record in RECORDS])
    assert [reading.generation for reading in readings] == ["t1"] * len(RECORDS)
    assert tier.void(namespace, RECORDS, "t2", NO_HOLD) == RECORDS
    assert tier.store(key_of(namespace), "t2", stored_of(), 60).value == "stored"
    assert new.calls()["evalsha"] > 0


def test_a_slot_on_its_way_is_asked_where_it_goes(cluster: RedisCluster, tier: RedisTier, namespace: str) -> None:
    place = record_key(namespace, "cus_1")
    source = cluster.master_of(place)
    target = next(node for node in cluster.masters() if node is not source)
    slot = source.ask("CLUSTER", "KEYSLOT", place)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    try:
        states, _ = tier.touch(namespace, ["cus_1", "cus_2"], "t1", 60)
        assert [state.generation for state in states] == ["t1", "t1"]
        assert tier.read(namespace, [Slot("cus_1")])[0].generation == "t1"
        assert tier.void(namespace, ["cus_1"], "t2", NO_HOLD) == ["cus_1"]
        with target.client() as client:
            client.execute_command("ASKING")
            assert client.execute_command("HGET", place, "g") == b"t2"
    finally:
        for node in (source, target):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)


def test_a_dead_master_fails_its_own_slots_quickly_until_its_replica_has_taken_over(
    cluster: RedisCluster, tier: RedisTier, namespace: str
) -> None:
    tier.touch(namespace, RECORDS, "t1", 60)
    victim = cluster.masters()[0]
    lost = on(cluster, victim, namespace)
    others = [record for record in RECORDS if record not in lost]
    cluster.kill_master(victim)
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(TierError):
            tier.read(namespace, [Slot(record) for record in lost])
        assert time.monotonic() - began < 2 * TIMEOUT + 0.2
    found = tier.read(namespace, [Slot(record) for record in others])
    assert [reading.generation for reading in found] == ["t1"] * len(others)

    def is_back() -> bool:
        try:
            return bool(tier.read(namespace, [Slot(record) for record in lost]))
        except TierError:
            return False

    assert eventually(is_back)
    assert tier.touch(namespace, RECORDS, "t2", 60)[1].epoch


def test_frozen_masters_cost_one_deadline_together_and_get_nothing_twice(
    cluster: RedisCluster, tier: RedisTier, namespace: str
) -> None:
    masters = cluster.masters()
    tier.touch(namespace, RECORDS, "t1", 60)
    before = {node: node.calls()["evalsha"] for node in masters}
    expected = {node: len(on(cluster, node, namespace)) for node in masters}
    for node in masters:
        node.freeze()
    began = time.monotonic()
    with pytest.raises(TierError, match="TimeoutError"):
        tier.void(namespace, RECORDS, "t2", NO_HOLD)
    took = time.monotonic() - began
    for node in masters:
        node.thaw()
    assert took < 2 * TIMEOUT
    cluster.wait_until_whole()
    assert {node: node.calls()["evalsha"] - before[node] for node in masters} == expected


def test_a_cluster_that_lacks_a_slot_says_so_and_serves_the_others(
    cluster: RedisCluster, tier: RedisTier, namespace: str
) -> None:
    tier.touch(namespace, RECORDS, "t1", 60)
    place = record_key(namespace, "cus_1")
    holder = cluster.master_of(place)
    slot = holder.ask("CLUSTER", "KEYSLOT", place)
    for node in cluster.living():
        if node.is_master:
            node.ask("CLUSTER", "DELSLOTS", slot)
    try:
        began = time.monotonic()
        with pytest.raises(TierError):
            tier.read(namespace, [Slot("cus_1")])
        assert time.monotonic() - began < TIMEOUT
        assert tier.read(namespace, [Slot("cus_2")])[0].generation == "t1"
    finally:
        holder.ask("CLUSTER", "ADDSLOTS", slot)


def test_a_url_of_the_wrong_kind_is_named_with_the_remedy(cluster: RedisCluster, valkey: Valkey) -> None:
    url = cluster.url_of("", cluster.living()[0]).replace("+cluster", "")
    plain = RedisTier(lambda: connect(parse(url), TIMEOUT), NullMeter())
    with pytest.raises(ConfigurationError, match=r"use redis\+cluster://"):
        plain.read("n", [Slot(record) for record in RECORDS])
    url = valkey.url.replace("redis://", "redis+cluster://")
    clustered = RedisTier(lambda: connect(parse(url), TIMEOUT), NullMeter())
    with pytest.raises(ConfigurationError, match="no cluster; use redis://"):
        clustered.read("n", [Slot("cus_1")])
