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
from dashboards import metrics_emitted, metrics_read
from synthesis import COMBINATIONS, ROOT, make_app, resources, synthesized, template_of
from tier_contract import Bench, ByteTierContract

from stripe_cache.core import metrics as runtime_metrics
from stripe_cache.core.ports import Claim
from stripe_cache.meter import NAMESPACE, SERVICE, EmfMeter
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
    }
    assert set(HANDLERS.values()) == set(functions(stage, topology))


@EVERYWHERE
def test_each_function_is_told_what_its_handler_needs_and_no_more(stage: str, topology: Topology) -> None:
    shared = {env.NAMESPACE, env.LIVEMODE, env.STAGE, env.EVENTS, env.TABLE, env.INVALIDATION_QUEUE_URL}
    if topology is not Topology.DYNAMODB_ONLY:
        shared.add(env.REDIS_URL)
    told = {
        handler: set(properties["Environment"]["Variables"])
        for handler, properties in functions(stage, topology).items()
    }
    assert told == {
        HANDLERS["webhook"]: shared | {env.WEBHOOK_SECRET},
        HANDLERS["invalidations"]: shared,
        HANDLERS["entitlements"]: shared | {env.API_KEY_SECRET},
        HANDLERS["reconcile"]: shared | {env.API_KEY_SECRET},
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
    assert len(set(env.ALL)) == len(env.ALL) == 10


@pytest.mark.parametrize("handler", HANDLERS.values())
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
        assert bool(settings.webhook_secret) == (handler == HANDLERS["webhook"])
        assert bool(settings.api_key_secret) == (handler in {HANDLERS["entitlements"], HANDLERS["reconcile"]})
        if topology is Topology.DYNAMODB_ONLY:
            assert not settings.redis_url
            continue
        address = parse(settings.redis_url)
        assert (address.host, address.port) == ("from-the-deployment", 6379)
        assert address.tls
        assert address.cluster
        assert address.serverless
        assert address.iam_user.endswith("-writer")
        assert address.cache_name


@pytest.mark.parametrize(("shards", "cluster"), [(1, False), (2, True)])
def test_the_runtime_understands_the_url_of_nodes(*, shards: int, cluster: bool) -> None:
    stack = cdk.Stack(make_app(), "Test")
    network = CacheNetwork(stack, "Network")
    tier = RedisTier(stack, "Redis", network=network, kind=RedisKind.NODES, shards=shards)
    address = parse(resolved(stack.resolve(tier.url(read_only=True))))
    assert (address.tls, address.cluster, address.serverless) == (True, cluster, False)
    assert address.iam_user.endswith("-reader")
    assert address.cache_name == tier.cache_name


def test_the_table_has_the_attributes_that_the_runtime_uses() -> None:
    assert dynamo_tier.PARTITION_KEY == PARTITION_KEY
    assert dynamo_tier.EXPIRY == TTL_ATTRIBUTE


def called_of(client: str, *paths: str) -> set[str]:
    """Return the operations of an AWS service that the sources call, in the words of IAM."""
    operations = boto3.client(client, region_name="us-east-1").meta.method_to_api_mapping
    called = {
        node.func.attr
        for path in paths
        for source in sorted(RUNTIME.glob(path))
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    return {operations[name] for name in called & set(operations)}


def test_permissions_are_exactly_the_calls_that_the_runtime_makes() -> None:
    granted: dict[str, set[str]] = {}
    for policy in resources(template_of("prod", Topology.VPC_VALKEY, "service"), "AWS::IAM::Policy").values():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            for action in [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]:
                service, _, operation = action.partition(":")
                granted.setdefault(service, set()).add(operation)
    assert granted["dynamodb"] == called_of("dynamodb", "tiers/dynamodb*.py")
    assert granted["secretsmanager"] == called_of("secretsmanager", "handlers/*.py")
    # What the consumer's event source needs comes on top.
    assert called_of("sqs", "handlers/*.py") == {"SendMessage"} <= granted["sqs"]
    assert granted["elasticache"] == {"Connect"}
    assert set(granted) == {"dynamodb", "secretsmanager", "sqs", "elasticache", "logs", "xray"}


def test_both_sides_name_the_same_metrics() -> None:
    named = {value for name, value in vars(runtime_metrics).items() if name.isupper()}
    assert set(monitoring.DIMENSIONS) <= named
    assert (monitoring.NAMESPACE, monitoring.SERVICE) == (NAMESPACE, SERVICE)


@EVERYWHERE
def test_the_meter_emits_under_the_dimensions_that_are_read(
    stage: str, topology: Topology, capsys: pytest.CaptureFixture[str]
) -> None:
    config, _ = synthesized(stage, topology)
    meter = EmfMeter(stage)
    for name in monitoring.DIMENSIONS:
        meter.count(name)
        for tier in monitoring.TIERS:
            meter.count(name, tier=tier)
        for object_type in config.object_types:
            meter.count(name, object_type=object_type)
    meter.flush()
    read = metrics_read(template_of(stage, topology, "monitoring"), NAMESPACE)
    assert read
    assert read <= metrics_emitted(capsys.readouterr().out)


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
