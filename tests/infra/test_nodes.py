"""The Redis tier on nodes, and who watches them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dashboards import alarm_of, dashboard
from synthesis import render, resources, text_of

from stripe_cache_cdk import CacheNetwork, ConstructError, Events, RedisKind, RedisTier, StripeCache, Topology

if TYPE_CHECKING:
    import aws_cdk as cdk


def test_nodes_are_encrypted_and_spread(stack: cdk.Stack) -> None:
    RedisTier(stack, "Redis", network=CacheNetwork(stack, "Network"), kind=RedisKind.NODES, replicas=2)
    (group,) = resources(render(stack), "AWS::ElastiCache::ReplicationGroup").values()
    properties = group["Properties"]
    assert properties["TransitEncryptionEnabled"]
    assert properties["AtRestEncryptionEnabled"]
    assert properties["MultiAZEnabled"]
    assert properties["UserGroupIds"]


@pytest.mark.parametrize(
    ("shards", "replicas", "group", "endpoint"),
    [
        (1, 0, "default.valkey8", "PrimaryEndPoint"),
        (1, 1, "default.valkey8.cluster.on", "ConfigurationEndPoint"),
        (1, 5, "default.valkey8.cluster.on", "ConfigurationEndPoint"),
        (3, 1, "default.valkey8.cluster.on", "ConfigurationEndPoint"),
    ],
)
def test_nodes_that_can_fail_over_are_a_cluster(
    stack: cdk.Stack, shards: int, replicas: int, group: str, endpoint: str
) -> None:
    """Without cluster mode a demoted primary goes on answering the connections it has, from a copy nobody voids."""
    network = CacheNetwork(stack, "Network")
    tier = RedisTier(stack, "Redis", network=network, kind=RedisKind.NODES, shards=shards, replicas=replicas)
    (found,) = resources(render(stack), "AWS::ElastiCache::ReplicationGroup").values()
    assert found["Properties"]["CacheParameterGroupName"] == group
    assert found["Properties"]["NumNodeGroups"] == shards
    # ElastiCache makes no cluster without it.
    assert found["Properties"]["AutomaticFailoverEnabled"] == ("cluster" in group)
    assert endpoint in text_of(stack.resolve(tier.host))
    assert all(("-0001-" in name) == ("cluster" in group) for name in tier.node_names[: replicas + 1])


def test_nodes_without_a_network_are_refused(stack: cdk.Stack) -> None:
    with pytest.raises(ConstructError, match=r"^Test/Redis: nodes have no public endpoint: use"):
        RedisTier(stack, "Redis", network=None, kind=RedisKind.NODES)


def test_nodes_are_watched_one_by_one(stack: cdk.Stack) -> None:
    cache = StripeCache(
        stack,
        "Cache",
        topology=Topology.VPC_VALKEY,
        network=CacheNetwork(stack, "Network"),
        redis_kind=RedisKind.NODES,
        replicas=1,
        events=Events.NONE,
    )
    assert cache.redis
    template = render(stack)
    for name, metric in (
        ("RedisMemory", "DatabaseMemoryUsagePercentage"),
        ("RedisCpu", '"CPUUtilization"'),
        ("RedisReplication", "ReplicationLag"),
    ):
        alarm = text_of(alarm_of(template, name))
        assert metric in alarm
        assert f"{cache.redis.cache_name}-0001-001" in alarm
        assert f"{cache.redis.cache_name}-0001-002" in alarm
    assert alarm_of(template, "RedisReplication")["Threshold"] == 1
    # A thread of the engine that takes 90 % of a processor takes 45 % of the node's two.
    assert alarm_of(template, "RedisCpu")["Threshold"] == 45


@pytest.mark.parametrize(("shards", "replicas"), [(4, 2), (45, 1)])
def test_as_many_nodes_as_a_cluster_may_have_are_all_watched(stack: cdk.Stack, shards: int, replicas: int) -> None:
    """An alarm takes ten metrics, a widget 500, a dashboard 2,500 and a template 500 resources."""
    cache = StripeCache(
        stack,
        "Cache",
        topology=Topology.VPC_VALKEY,
        redis_kind=RedisKind.NODES,
        node_type="cache.r7g.xlarge",
        shards=shards,
        replicas=replicas,
    )
    assert cache.redis
    template = render(stack)
    assert len(template["Resources"]) <= 500
    alarms = [found["Properties"] for found in resources(template, "AWS::CloudWatch::Alarm").values()]
    for name in ("DatabaseMemoryUsagePercentage", "EngineCPUUtilization", "Evictions", "ReplicationLag"):
        parts = [alarm["Metrics"] for alarm in alarms if f'"{name}"' in text_of(alarm)]
        read = [part["MetricStat"]["Metric"] for group in parts for part in group if "MetricStat" in part]
        watched = [metric["Dimensions"][0]["Value"] for metric in read]
        assert sorted(watched) == sorted(cache.redis.node_names)
        assert len(watched) == shards * (1 + replicas)
        assert max(map(len, parts)) <= 11, "ten metrics and the expression"
    drawn = [widget["properties"]["metrics"] for widget in dashboard(template) if "metrics" in widget["properties"]]
    lines = [len([line for line in widget if isinstance(line[0], str)]) for widget in drawn]
    assert 2 * shards * (1 + replicas) <= max(lines) <= 500
    assert sum(lines) <= 2_500
