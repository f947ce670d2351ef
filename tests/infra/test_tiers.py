from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
import redis
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from functions import plain
from synthesis import make_app, of_function, render, resources, text_of

from stripe_cache_cdk import (
    CacheNetwork,
    ConstructError,
    DynamoTier,
    RedisKind,
    RedisTier,
    StageError,
    StripeCache,
    UsageCaps,
)
from stripe_cache_cdk.constructs import environment as env
from stripe_cache_cdk.constructs.redis_access import READ_ONLY, READ_WRITE
from stripe_cache_cdk.runtime_options import RuntimeOptions

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
    actions = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:Scan", "dynamodb:UpdateItem"]
    assert sorted(statement["Action"]) == actions


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
        ({"kind": RedisKind.NODES, "replicas": 0}, "rediss://", False, "-nodes"),
        ({"kind": RedisKind.NODES}, "rediss+cluster://", True, "-nodes"),
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


@pytest.mark.parametrize(
    ("props", "told"),
    [
        ({"shards": 2, "replicas": 0}, "replicas=0 with shards=2: a cluster fails over: give replicas of 1 to 5"),
        ({"shards": 0}, "shards=0: give 1 to 45 shards"),
        ({"shards": 46}, "shards=46: give 1 to 45 shards"),
        ({"shards": 31, "replicas": 2}, "shards=31 with replicas=2 makes 93 nodes, and a cluster has 90.*: give fewer"),
        ({"node_type": "cache.t4g.large"}, "node_type='cache.t4g.large': give a type such as"),
        ({"node_type": "cache.r7g.medium"}, "node_type='cache.r7g.medium': give a type such as"),
        ({"replicas": 6}, "replicas=6: give 0 to 5 replicas"),
        ({"replicas": "1"}, "replicas='1': give"),
        ({"node_type": "r7g.large"}, "node_type='r7g.large': give a type such as"),
        ({"node_type": "cache.made-up"}, "node_type='cache.made-up': give a type such as"),
        ({"node_type": "cache.made.up"}, "node_type='cache.made.up': give a type such as"),
        ({"node_type": "cache.r7g.0xlarge"}, "node_type='cache.r7g.0xlarge': give a type such as"),
        ({"node_type": "cache.r6gd.xlarge"}, "node_type='cache.r6gd.xlarge' tiers data to disk: give"),
        ({"kind": "memcached"}, "kind='memcached' is unknown: choose one of serverless, nodes"),
        ({"usage_caps": UsageCaps()}, "usage_caps: nodes have none: size them by node_type"),
        ({"usage_caps": UsageCaps(storage_gb=0), "kind": "serverless"}, r"usage_caps\.storage_gb=0: give 1 to 5000 GB"),
        ({"usage_caps": 5}, r"usage_caps=5: give UsageCaps\("),
    ],
)
def test_a_size_that_elasticache_would_refuse_is_refused_with_the_path(
    stack: cdk.Stack, props: dict[str, Any], told: str
) -> None:
    network = CacheNetwork(stack, "Network")
    with pytest.raises(ConstructError, match=rf"^Test/Redis: {told}"):
        RedisTier(stack, "Redis", network=network, **{"kind": RedisKind.NODES, **props})


def test_the_kind_may_be_given_as_text(stack: cdk.Stack) -> None:
    tier = RedisTier(stack, "Redis", network=None, kind="serverless")  # type: ignore[arg-type]  # As untyped code does.
    assert tier.kind is RedisKind.SERVERLESS


def test_one_node_alone_has_nothing_to_fail_over_to(stack: cdk.Stack) -> None:
    RedisTier(stack, "Redis", network=CacheNetwork(stack, "Network"), kind=RedisKind.NODES, replicas=0)
    (group,) = resources(render(stack), "AWS::ElastiCache::ReplicationGroup").values()
    assert group["Properties"]["AutomaticFailoverEnabled"] is False
    assert group["Properties"]["MultiAZEnabled"] is False


def test_what_replaces_a_cache_renames_it() -> None:
    """CloudFormation makes the new one first, and two of one name cannot coexist."""

    def name(*, azs: int | None = None, key: str = "", **props: Any) -> str:
        stack = cdk.Stack(make_app(), "Test")
        network = CacheNetwork(stack, "Network", azs=azs) if azs else None
        encryption_key = kms.Key(stack, key) if key else None
        return RedisTier(stack, "Redis", network=network, encryption_key=encryption_key, **props).cache_name

    serverless = [name(), name(azs=2), name(azs=3), name(key="A"), name(key="B"), name(azs=2, key="A")]
    nodes = [name(azs=2, kind=RedisKind.NODES, **props) for props in ({}, {"replicas": 0}, {"key": "A"})]
    assert len({*serverless, *nodes}) == len(serverless) + len(nodes)
    # And what only changes it does not.
    assert name(usage_caps=UsageCaps(storage_gb=9)) == serverless[0]
    assert name(azs=3, kind=RedisKind.NODES, replicas=3, node_type="cache.r7g.large") == nodes[0]
    assert name(azs=2, kind=RedisKind.NODES, shards=2) == nodes[0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"policy": {"price": {"note": "x" * 3_000}}}, "policy takes .* bytes and the environment has room for 2048"),
        ({"policy": {"price": object()}}, "policy is no JSON .*: give a mapping"),
        ({"memory_max_bytes": 1.5}, "memory_max_bytes=1.5: give"),
        ({"shared_scope": 7}, "shared_scope=7 is a int: give text"),
    ],
)
def test_settings_that_cannot_be_told_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(StageError, match=rf"^{told}"):
        RuntimeOptions(**options)


def test_settings_of_a_function_replace_those_of_its_cache(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", settings=RuntimeOptions(memory_max_bytes=0, audit_rate=0.01))
    cache.attach(plain(stack, "Usual"))
    cache.attach(plain(stack, "Special"), settings=RuntimeOptions(audit_rate=0.5))
    template = render(stack)
    told = {
        name: {
            variable: of_function(template, name)["Environment"]["Variables"].get(variable)
            for variable in (env.MEMORY_MAX_BYTES, env.AUDIT_RATE)
        }
        for name in ("Usual", "Special", "CacheWebhookFunction")
    }
    usual = {env.MEMORY_MAX_BYTES: "0", env.AUDIT_RATE: "0.01"}
    special = {env.MEMORY_MAX_BYTES: None, env.AUDIT_RATE: "0.5"}
    assert told == {"Usual": usual, "Special": special, "CacheWebhookFunction": usual}


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
