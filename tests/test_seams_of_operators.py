"""Where infrastructure and runtime meet, beside the stages: settings, keys, and the purge."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
import redis
from aws_cdk import aws_kms as kms
from synthesis import make_app, of_function, render, resources

from stripe_cache import StripeCache as RuntimeCache
from stripe_cache.core.errors import SettingError
from stripe_cache.core.key import Key
from stripe_cache.settings import PREFIX, Settings
from stripe_cache.tiers import dynamodb_connection
from stripe_cache.tiers.redis_purge import FORGET
from stripe_cache_cdk import Events, FunctionOptions, RuntimeFunction, StageError, StripeCache, Topology
from stripe_cache_cdk.choices import check_namespace
from stripe_cache_cdk.constructs import dynamo_tier
from stripe_cache_cdk.constructs import environment as env
from stripe_cache_cdk.constructs.redis_access import PURGE, READ_ONLY, READ_WRITE, REPLAY
from stripe_cache_cdk.runtime_options import RuntimeOptions

if TYPE_CHECKING:
    from local.dynamodb import DynamoDB
    from local.valkey import Valkey


def test_constructs_can_say_every_setting_but_two() -> None:
    """A secret has no place in a template, and a cache that is deployed talks to Stripe."""
    settings = {f"{PREFIX}{one.name.upper()}" for one in dataclasses.fields(Settings)}
    assert settings - set(env.ALL) == {f"{PREFIX}FINGERPRINT_SECRET", f"{PREFIX}API_BASE"}
    assert set(env.ALL) <= settings


OPTIONS = {
    "policy": {"price": {"ttl": 3600}},
    "memory_max_bytes": 0,
    "memory_max_lag": 0.25,
    "max_body_bytes": 4096,
    "redis_timeout": 0.5,
    "dynamodb_timeout": 2.0,
    "origin_timeout": 5.0,
    "origin_wait": 0.5,
    "rate_limits": {"live": 500, "endpoints": {"GET /v1/prices": 50}},
    "negative_ttl": 2.0,
    "audit_rate": 0.0001,
    "shared_scope": "billing",
}


def test_the_runtime_reads_what_its_options_say() -> None:
    settings = Settings.from_env(RuntimeOptions(**OPTIONS).variables())
    assert {name: getattr(settings, name) for name in OPTIONS} == OPTIONS
    assert set(OPTIONS) == {one.name for one in dataclasses.fields(RuntimeOptions)}
    assert Settings.from_env(RuntimeOptions().variables()) == Settings()
    assert Settings.from_env(RuntimeOptions(rate_limits="off").variables()).rate_limits is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory_max_bytes": -1},
        {"max_body_bytes": 10 * 1024**3 + 1},
        {"memory_max_lag": 61},
        {"redis_timeout": 0},
        {"dynamodb_timeout": 61},
        {"origin_timeout": 0},
        {"origin_wait": 61},
        {"negative_ttl": 5.5},
        {"audit_rate": 1.1},
        {"shared_scope": "a|b"},
    ],
)
def test_both_sides_refuse_the_same_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Settings(**wrong)
    with pytest.raises(StageError, match=next(iter(wrong))):
        RuntimeOptions(**wrong)


def test_the_runtime_understands_that_what_is_hot_is_refreshed() -> None:
    """It refuses the switch without Redis and the queue: whoever is told the one must be told all three."""
    stack = cdk.Stack(make_app(), "Test")
    cache = StripeCache(
        stack, "Cache", topology=Topology.PUBLIC_VALKEY, refresh=True, refresh_hot=True, monitoring=False
    )
    cache.attach(RuntimeFunction(stack, "Mine", handler="m.h"))
    hot = {}
    for name, found in resources(render(stack), "AWS::Lambda::Function").items():
        variables = found["Properties"]["Environment"]["Variables"]
        told = {one: value if isinstance(value, str) else "from-the-deployment" for one, value in variables.items()}
        hot[name] = Settings.from_env(told | {env.REDIS_URL: "redis://somewhere"}).refresh_hot
    assert sorted(hot.values()) == [False, True, True, True], "all but the function that refreshes"


@pytest.mark.parametrize("label", ["", "default", "a b", "a|b", "x" * 65, "acct_1Abc", "main", "x" * 64])
def test_both_sides_refuse_the_same_namespaces(label: str) -> None:
    refused = []
    for make in (lambda: Settings(namespace=label, table="some-table"), lambda: check_namespace(label)):
        try:
            make()
        except (SettingError, StageError):
            refused.append(make)
    assert len(refused) in {0, 2}


def test_the_runtime_understands_two_keys() -> None:
    stack = cdk.Stack(make_app(), "Test")
    keys = [kms.Key.from_key_arn(stack, name, f"arn:aws:kms:us-east-1:123456789012:key/{name}") for name in "ab"]
    cache = StripeCache(
        stack, "Cache", entry_key=keys[0], previous_entry_key=keys[1], events=Events.NONE, monitoring=False
    )
    cache.attach(RuntimeFunction(stack, "Mine", handler="m.h", options=FunctionOptions(extras=("encryption",))))
    variables = of_function(render(stack), "Mine")["Environment"]["Variables"]
    settings = Settings.from_env(
        {name: value if isinstance(value, str) else "from-the-deployment" for name, value in variables.items()}
    )
    assert settings.kms_key == ",".join(key.key_arn for key in keys)


def test_a_purge_calls_what_its_role_may_and_nothing_else(
    table: str, dynamodb: DynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a real table: search, void, forget. Its role has exactly these actions on the table."""
    called: set[str] = set()

    def connect(_timeout: float, _bounded: object = None) -> Any:
        client = dynamodb.client()
        client.meta.events.register("before-call.dynamodb", lambda model, **_: called.add(f"dynamodb:{model.name}"))
        return client

    monkeypatch.setattr(dynamodb_connection, "connect", connect)
    cache = RuntimeCache(Settings(namespace=f"acct_{uuid.uuid4().hex[:16]}", table=table))
    cache.invalidate("cus_1")
    key = Key.of(cache.engine.planner.namespaces(None, livemode=None)[0], "cus_1", "v")
    dynamodb.client().put_item(
        TableName=table,
        Item={"pk": {"S": f"{key.namespace}|cus_1"}, "g": {"S": "0"}, "v": {"M": {"v": {"B": b"unreadable"}}}},
    )
    called.clear()
    report = cache.purge("cus_1")
    assert report.tiers["dynamodb"].forgotten == 1
    assert called == set(dynamo_tier.PURGE_ACTIONS)


@pytest.mark.parametrize(
    ("rules", "searches"), [(READ_ONLY, False), (READ_WRITE, False), (PURGE, True), (REPLAY, True)]
)
def test_only_who_purges_or_replays_may_search_redis(valkey: Valkey, rules: str, *, searches: bool) -> None:
    """The commands of the search, and the others that name keys, on a real server."""
    key = "sc1:{main.test|cus_1}"
    commands = {
        ("SCAN", "0", "MATCH", "sc1:*", "COUNT", "200"): searches,
        ("RANDOMKEY",): False,
        ("KEYS", "*"): False,
        ("EVAL", FORGET.source, "1", key, "0"): rules is not READ_ONLY,
        ("HKEYS", key): True,
        ("HGET", key, "g"): True,
    }
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        client.execute_command("ACL", "SETUSER", "search", "reset", "nopass", *rules.split())
        try:
            told = {
                command: client.execute_command("ACL", "DRYRUN", "search", *command) == "OK" for command in commands
            }
        finally:
            client.execute_command("ACL", "DELUSER", "search")
    assert told == commands
