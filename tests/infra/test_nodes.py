"""The Redis tier on nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from synthesis import render, resources, text_of

from stripe_cache_cdk import CacheNetwork, ConstructError, RedisKind, RedisTier

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
