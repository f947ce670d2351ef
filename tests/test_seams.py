"""Where infrastructure and runtime meet: both say the same names, though neither imports the other."""

from __future__ import annotations

import ast
import importlib
import re
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import boto3
import pytest
import redis
from aws_cdk import aws_iam as iam
from synthesis import COMBINATIONS, ROOT, make_app, render, resources, synthesized, template_of
from tier_contract import Bench, ByteTierContract

from stripe_cache.core import metrics as runtime_metrics
from stripe_cache.core.ports import Claim
from stripe_cache.meter import NAMESPACE, SERVICE
from stripe_cache.settings import Settings
from stripe_cache.tiers import redis as runtime_redis
from stripe_cache.tiers.dynamodb import TTL_ATTRIBUTE
from stripe_cache.tiers.dynamodb_table import PARTITION_KEY
from stripe_cache.tiers.redis_url import parse
from stripe_cache_cdk import CacheNetwork, RedisKind, RedisTier
from stripe_cache_cdk.config import Topology
from stripe_cache_cdk.constructs import dynamo_tier
from stripe_cache_cdk.constructs import environment as env
from stripe_cache_cdk.constructs.monitoring import metrics as monitoring
from stripe_cache_cdk.constructs.purge import HANDLER as PURGE_HANDLER
from stripe_cache_cdk.constructs.redis_access import READ_WRITE
from stripe_cache_cdk.constructs.runtime_function import HANDLERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes import FakeClock, RecordingMeter

    from local.valkey import Valkey
    from stripe_cache.core.key import Key

RUNTIME = ROOT / "runtime" / "stripe_cache"
EVERYWHERE = pytest.mark.parametrize(("stage", "topology"), COMBINATIONS)


def functions(stage: str, topology: Topology) -> dict[str, dict[str, Any]]:
    """Return the properties of each deployed function by its handler."""
    found = resources(template_of(stage, topology, "service"), "AWS::Lambda::Function").values()
    return {function["Properties"]["Handler"]: function["Properties"] for function in found}


@EVERYWHERE
def test_the_handlers_that_are_deployed_are_those_of_the_contract(stage: str, topology: Topology) -> None:
    assert set(functions(stage, topology)) == {
        "stripe_cache.handlers.webhook.handler",
        "stripe_cache.handlers.entitlements.handler",
        "stripe_cache.handlers.invalidations.handler",
        "stripe_cache.handlers.reconcile.handler",
        "stripe_cache.handlers.refresh.handler",
    }
    assert set(HANDLERS.values()) == set(functions(stage, topology))


@EVERYWHERE
def test_each_function_is_told_what_its_handler_needs_and_no_more(stage: str, topology: Topology) -> None:
    # Each of them may have to queue what a tier could not be told.
    shared = {env.NAMESPACE, env.LIVEMODE, env.STAGE, env.EVENTS, env.TABLE, env.INVALIDATION_QUEUE_URL, env.RESOLVER}
    if topology is not Topology.DYNAMODB_ONLY:
        shared.add(env.REDIS_URL)
    told = {
        handler: set(properties["Environment"]["Variables"])
        for handler, properties in functions(stage, topology).items()
    }
    assert told == {
        HANDLERS["webhook"]: shared | {env.WEBHOOK_SECRET},
        HANDLERS["invalidations"]: shared,
        HANDLERS["entitlements"]: shared | {env.API_KEY_SECRET, env.REFRESH_QUEUE_URL},
        HANDLERS["reconcile"]: shared | {env.API_KEY_SECRET},
        HANDLERS["refresh"]: shared | {env.API_KEY_SECRET},
    }


def test_constructs_set_names_from_one_list_only() -> None:
    """A name typed by hand anywhere else in the constructs would escape the comparison with the runtime."""
    by_hand = {
        name
        for path in (ROOT / "infra").rglob("*.py")
        if path.name != "environment.py"
        for name in re.findall(r"STRIPE_CACHE_[A-Z_]+", re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL))
    }
    assert by_hand == set()
    assert len(set(env.ALL)) == len(env.ALL)


@pytest.mark.parametrize("handler", [*HANDLERS.values(), PURGE_HANDLER])
def test_every_deployed_handler_is_a_function_of_the_runtime(handler: str) -> None:
    module, _, name = handler.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def resolved(value: Any) -> str:
    """Return what the deployment would make of a template's value."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        glue, parts = value["Fn::Join"]
        return str(glue.join(map(resolved, parts)))
    return "6379" if "Port" in str(value) else "from-the-deployment"


@EVERYWHERE
def test_the_runtime_understands_every_environment_that_is_deployed(stage: str, topology: Topology) -> None:
    config, _ = synthesized(stage, topology)
    for handler, properties in functions(stage, topology).items():
        variables = properties["Environment"]["Variables"]
        settings = Settings.from_env({name: resolved(value) for name, value in variables.items()})
        assert settings.livemode is config.livemode
        assert settings.events is True
        assert settings.stage == stage
        assert settings.namespace
        assert settings.table
        assert settings.invalidation_queue_url
        assert bool(settings.refresh_queue_url) == (handler == HANDLERS["entitlements"])
        assert bool(settings.webhook_secret) == (handler == HANDLERS["webhook"])
        readers = {HANDLERS[name] for name in ("entitlements", "reconcile", "refresh")}
        assert bool(settings.api_key_secret) == (handler in readers)
        if topology is Topology.DYNAMODB_ONLY:
            assert not settings.redis_url
            continue
        address = parse(settings.redis_url)
        assert (address.host, address.port) == ("from-the-deployment", 6379)
        assert address.tls
        assert address.cluster
        assert address.serverless
        assert address.iam_user.endswith("-replayer" if handler == HANDLERS["reconcile"] else "-writer")
        assert address.cache_name


@pytest.mark.parametrize(("shards", "replicas", "cluster"), [(1, 0, False), (1, 1, True), (2, 1, True)])
def test_the_runtime_understands_the_url_of_nodes(*, shards: int, replicas: int, cluster: bool) -> None:
    stack = cdk.Stack(make_app(), "Test")
    network = CacheNetwork(stack, "Network")
    tier = RedisTier(stack, "Redis", network=network, kind=RedisKind.NODES, shards=shards, replicas=replicas)
    address = parse(resolved(stack.resolve(tier.url(read_only=True))))
    assert (address.tls, address.cluster, address.serverless) == (True, cluster, False)
    assert address.iam_user.endswith("-reader")
    assert address.cache_name == tier.cache_name


def test_the_table_has_the_attributes_that_the_runtime_uses() -> None:
    assert dynamo_tier.PARTITION_KEY == PARTITION_KEY
    assert dynamo_tier.EXPIRY == TTL_ATTRIBUTE


def named_in(*paths: str) -> set[str]:
    """Return the name of everything that sources call, and of what they hand to a call: a method, or its name as text.

    The latter, because a method may be called by its name: `_call("scan")`.
    """
    sources = [source for path in paths for source in sorted(RUNTIME.glob(path))]
    assert sources, paths
    calls = [
        node for source in sources for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)
    ]
    words = set()
    for node in (part for call in calls for part in (call.func, *call.args)):
        if isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.add(node.value)
    return words


def called_of(client: str, *paths: str) -> set[str]:
    """Return the operations of an AWS service that the sources call, in the words of IAM."""
    operations = boto3.client(client, region_name="us-east-1").meta.method_to_api_mapping
    return {operations[name] for name in named_in(*paths) & set(operations)}


def granted_in(template: dict[str, Any]) -> dict[str, set[str]]:
    """Return the operations that all policies of a template allow, by service."""
    granted: dict[str, set[str]] = {}
    for policy in resources(template, "AWS::IAM::Policy").values():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            for action in [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]:
                service, _, operation = action.partition(":")
                granted.setdefault(service, set()).add(operation)
    return granted


PURGE = ("tiers/dynamodb_purge.py",)
"""Sources with calls that no deployed function may make: an operator's role does."""


def test_permissions_are_exactly_the_calls_that_the_runtime_makes() -> None:
    granted = granted_in(template_of("prod", Topology.VPC_VALKEY, "service"))
    with_calls = {
        name
        for source in RUNTIME.rglob("*.py")
        # The core imports nothing that could ask AWS; what it calls query is that of a URL. So does who parses one.
        if not (name := str(source.relative_to(RUNTIME))).startswith("core/")
        and "dynamodb" in source.read_text().lower()
        if called_of("dynamodb", name)
    }
    # Whatever asks the table is looked at, wherever it is.
    assert with_calls >= {"tiers/dynamodb_table.py", "tiers/dynamodb_purge.py"}
    assert granted["dynamodb"] == called_of("dynamodb", *sorted(with_calls - set(PURGE)))
    assert granted["secretsmanager"] == called_of("secretsmanager", "**/*.py")
    # What the consumers' event sources need comes on top.
    assert called_of("sqs", "**/*.py") == {"SendMessage"}
    polling = {"ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl", "ReceiveMessage"}
    assert granted["sqs"] == {"SendMessage"} | polling
    assert granted["elasticache"] == {"Connect"}
    assert set(granted) == {"dynamodb", "secretsmanager", "sqs", "elasticache", "logs", "xray"}


def test_a_purge_may_do_exactly_what_it_calls() -> None:
    stack = cdk.Stack(make_app(), "Test")
    role = iam.Role(stack, "Operator", assumed_by=iam.AccountRootPrincipal())
    dynamo_tier.DynamoTier(stack, "Dynamo").grant_purge(role)
    # Before it forgets, it voids as every function does. It reads no entries through the tier.
    voids = {action.partition(":")[2] for action in dynamo_tier.WRITE_ACTIONS}
    assert called_of("dynamodb", *PURGE) == {"Scan", "DeleteItem", "GetItem"}
    assert granted_in(render(stack))["dynamodb"] == called_of("dynamodb", *PURGE) | voids


def test_both_sides_name_the_same_metrics() -> None:
    """What is shown, and what is not with its reason, is everything there is; the rest is tested on what is printed."""
    named = {value for name, value in vars(runtime_metrics).items() if name.isupper()}
    assert set(monitoring.DIMENSIONS) | set(monitoring.NOT_SHOWN) == named
    assert not set(monitoring.DIMENSIONS) & set(monitoring.NOT_SHOWN)
    assert (monitoring.NAMESPACE, monitoring.SERVICE) == (NAMESPACE, SERVICE)


class TestWhatTheWriterMayDo(ByteTierContract):
    """The whole contract of the Redis tier, on a connection with the rights that ElastiCache gives its user."""

    @pytest.fixture(params=["bare"])
    def bench(
        self,
        *,
        request: pytest.FixtureRequest,
        valkey: Valkey,
        namespace: str,
        clock: FakeClock,
        meter: RecordingMeter,
    ) -> Iterator[Bench]:
        with redis.Redis.from_url(valkey.url, protocol=2) as admin:
            admin.execute_command("ACL", "SETUSER", "writer", "reset", ">secret", *READ_WRITE.split())
            client = redis.Redis.from_url(valkey.url.replace("//", "//writer:secret@"), protocol=2)

            def lose(record: str) -> None:
                admin.delete(runtime_redis.record_key(namespace, record))

            def plant(key: Key, data: bytes) -> None:
                admin.hset(runtime_redis.record_key(key.namespace, key.record), f"v{key.variant}", data)

            bench = Bench(runtime_redis.RedisTier(lambda: client, meter), namespace, clock, meter, lose, plant)
            yield bench.wrapped(request.param)
            client.close()
            admin.execute_command("ACL", "DELUSER", "writer")

    def test_one_reader_may_claim_and_release(self, bench: Bench) -> None:
        (state,) = bench.touch("cus_1")
        key = bench.key()
        assert bench.tier.claim(key, state.generation, "one", 5.0) is Claim.MINE
        assert bench.tier.claim(key, state.generation, "two", 5.0) is Claim.TAKEN
        bench.tier.release(key, state.generation, "one", 5.0)
        assert bench.tier.claim(key, state.generation, "two", 5.0) is Claim.ALONE
