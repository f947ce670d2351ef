from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
import redis
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from synthesis import make_app, render, resources, text_of

from stripe_cache_cdk import CacheNetwork, ConstructError, DynamoTier, RedisKind, RedisTier, UsageCaps
from stripe_cache_cdk.constructs.redis_access import READ_ONLY, READ_WRITE

if TYPE_CHECKING:
    from local.valkey import Valkey


def role(stack: cdk.Stack) -> iam.Role:
    return iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))


def granted(stack: cdk.Stack) -> list[dict[str, Any]]:
    (policy,) = resources(render(stack), "AWS::IAM::Policy").values()
    statements: list[dict[str, Any]] = policy["Properties"]["PolicyDocument"]["Statement"]
    return statements


@pytest.mark.parametrize(
    ("read_only", "actions"),
    [
        (False, ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"]),
        (True, ["dynamodb:BatchGetItem", "dynamodb:GetItem"]),
    ],
)
def test_cache_access_is_these_actions_on_the_table_alone(
    stack: cdk.Stack, actions: list[str], *, read_only: bool
) -> None:
    tier = DynamoTier(stack, "Dynamo")
    tier.grant_cache_access(role(stack), read_only=read_only)
    (statement,) = granted(stack)
    assert statement["Action"] == actions
    assert statement["Resource"]["Fn::GetAtt"][0].startswith("DynamoTable")


def test_only_the_purge_role_may_scan(stack: cdk.Stack) -> None:
    tier = DynamoTier(stack, "Dynamo")
    tier.grant_purge(role(stack))
    (statement,) = granted(stack)
    assert "dynamodb:Scan" in statement["Action"]


def test_a_table_can_be_protected_and_encrypted_with_a_key_of_yours(stack: cdk.Stack) -> None:
    tier = DynamoTier(
        stack,
        "Dynamo",
        encryption_key=kms.Key(stack, "Key"),
        deletion_protection=True,
        point_in_time_recovery=True,
        removal_policy=cdk.RemovalPolicy.RETAIN,
    )
    tier.grant_cache_access(role(stack))
    (table,) = resources(render(stack), "AWS::DynamoDB::GlobalTable").values()
    (replica,) = table["Properties"]["Replicas"]
    assert replica["DeletionProtectionEnabled"]
    assert replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
    assert table["Properties"]["SSESpecification"]["SSEType"] == "KMS"
    assert table["DeletionPolicy"] == "Retain"
    assert any("kms:Decrypt" in statement["Action"] for statement in granted(stack))


@pytest.mark.parametrize(("read_only", "user"), [(False, "writer"), (True, "reader")])
def test_connecting_is_granted_on_the_cache_and_one_user(stack: cdk.Stack, user: str, *, read_only: bool) -> None:
    tier = RedisTier(stack, "Redis", network=None)
    tier.grant_connect(role(stack), read_only=read_only)
    (statement,) = granted(stack)
    assert statement["Action"] == "elasticache:Connect"
    assert len(statement["Resource"]) == 2
    assert f"Access{user.title()}" in text_of(statement["Resource"])
    assert f"-{user}" in tier.url(read_only=read_only)


@pytest.mark.parametrize(
    ("props", "scheme", "cluster", "tail"),
    [
        ({}, "rediss+cluster://", True, "&serverless=1"),
        ({"kind": RedisKind.NODES}, "rediss://", False, "-nodes"),
        ({"kind": RedisKind.NODES, "shards": 2}, "rediss+cluster://", True, "-nodes"),
    ],
)
def test_the_url_says_how_to_connect(
    stack: cdk.Stack, props: dict[str, Any], scheme: str, tail: str, *, cluster: bool
) -> None:
    tier = RedisTier(stack, "Redis", network=CacheNetwork(stack, "Network"), **props)
    url = tier.url()
    assert url.startswith(scheme)
    assert "/?iam_user=" in url
    assert f"&cache_name={tier.cache_name}" in url
    assert url.endswith(tail)
    assert tier.is_cluster is cluster


def test_a_private_cache_admits_its_clients_on_both_ports_and_nobody_else(stack: cdk.Stack) -> None:
    tier = RedisTier(stack, "Redis", network=CacheNetwork(stack, "Network"))
    assert tier.client_group is tier.client_group
    rules = [found["Properties"] for found in resources(render(stack), "AWS::EC2::SecurityGroupIngress").values()]
    assert sorted(rule["FromPort"] for rule in rules) == [6379, 6380]
    assert all("ClientGroup" in text_of(rule["SourceSecurityGroupId"]) for rule in rules)


def test_nodes_are_encrypted_and_spread(stack: cdk.Stack) -> None:
    RedisTier(stack, "Redis", network=CacheNetwork(stack, "Network"), kind=RedisKind.NODES, replicas=2)
    (group,) = resources(render(stack), "AWS::ElastiCache::ReplicationGroup").values()
    properties = group["Properties"]
    assert properties["TransitEncryptionEnabled"]
    assert properties["AtRestEncryptionEnabled"]
    assert properties["MultiAZEnabled"]
    assert properties["UserGroupIds"]


def test_names_that_must_be_given_are_short_and_differ_by_path() -> None:
    app = make_app()
    names = {
        RedisTier(cdk.Stack(app, f"A-very-long-stack-name-of-somebody-{number}"), "R", network=None).cache_name
        for number in range(3)
    }
    assert len(names) == 3
    assert all(len(name) <= 40 and name == name.lower() and "--" not in name for name in names)


def test_usage_caps_reach_the_template(stack: cdk.Stack) -> None:
    RedisTier(stack, "Redis", network=None, usage_caps=UsageCaps(storage_gb=7, ecpu_per_second=9_000))
    (cache,) = resources(render(stack), "AWS::ElastiCache::ServerlessCache").values()
    assert cache["Properties"]["CacheUsageLimits"] == {
        "DataStorage": {"Maximum": 7, "Unit": "GB"},
        "ECPUPerSecond": {"Maximum": 9_000},
    }


def test_nodes_without_a_network_are_refused(stack: cdk.Stack) -> None:
    with pytest.raises(ConstructError, match=r"^Test/Redis: nodes have no public endpoint: use"):
        RedisTier(stack, "Redis", network=None, kind=RedisKind.NODES)


def test_a_region_without_public_endpoints_is_refused() -> None:
    stack = cdk.Stack(make_app(), "Test", env=cdk.Environment(account="123456789012", region="cn-north-1"))
    with pytest.raises(ConstructError, match=r"^Test/Redis: region cn-north-1 .*use topology vpc-valkey"):
        RedisTier(stack, "Redis", network=None)


def test_a_public_endpoint_has_no_client_group(stack: cdk.Stack) -> None:
    with pytest.raises(ConstructError, match="grant_connect is all it takes"):
        _ = RedisTier(stack, "Redis", network=None).client_group


@pytest.mark.parametrize(("rules", "may_write"), [(READ_WRITE, True), (READ_ONLY, False)])
def test_the_access_strings_mean_what_they_say_to_a_real_server(valkey: Valkey, rules: str, *, may_write: bool) -> None:
    key = "sc1:{main.test|cus_1}"
    expected = {
        ("HMGET", key, "g", "v"): True,
        ("HGETALL", key): True,
        ("PING",): True,
        ("TIME",): True,
        ("COMMAND", "COUNT"): True,
        ("CLUSTER", "SLOTS"): True,
        ("SCRIPT", "LOAD", "return 1"): True,
        ("EVAL_RO", "return redis.call('HGET', KEYS[1], 'g')", "1", key): not may_write,
        ("HSET", key, "g", "1"): may_write,
        ("EXPIRE", key, "5"): may_write,
        ("DEL", key): may_write,
        ("EVAL", "return redis.call('HSET', KEYS[1], 'g', '1')", "1", key): may_write,
        ("HMGET", "session:1", "g"): False,
        ("SCRIPT", "FLUSH"): False,
        ("FLUSHALL",): False,
        ("KEYS", "*"): False,
        ("CONFIG", "GET", "*"): False,
        ("ACL", "LIST"): False,
    }
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        client.execute_command("ACL", "SETUSER", "app", "reset", "nopass", *rules.split())
        try:
            told = {command: client.execute_command("ACL", "DRYRUN", "app", *command) == "OK" for command in expected}
        finally:
            client.execute_command("ACL", "DELUSER", "app")
    assert told == expected
