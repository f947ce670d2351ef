"""Keys of the account's own, sealed entries, and the one function that may search and erase."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import cdk_nag
import pytest
from aws_cdk import aws_kms as kms
from functions import actions_of, plain
from synthesis import CONTEXT, make_app, of_function, render, resources, text_of

from stripe_cache_cdk import (
    ConstructError,
    FunctionOptions,
    Reconciler,
    RuntimeFunction,
    StripeCache,
    Topology,
    stage_config,
)
from stripe_cache_cdk.constructs import environment as env
from stripe_cache_cdk.constructs.bundled_code import package_of
from stripe_cache_cdk.constructs.bundling import Bundle
from stripe_cache_cdk.constructs.purge import HANDLER
from stripe_cache_cdk.constructs.runtime_function import HANDLERS
from stripe_cache_cdk.stacks.stage import build_stage

if TYPE_CHECKING:
    from pathlib import Path

PURGE = {"dynamodb:Scan", "dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}
SECOND = "arn:aws:kms:us-east-1:123456789012:key/second"


def kms_of(template: dict[str, Any], role: str) -> dict[str, set[str]]:
    """Return the KMS actions of a role's policy, by the key they are for."""
    found: dict[str, set[str]] = {}
    for name, policy in resources(template, "AWS::IAM::Policy").items():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            actions = {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
            if name.startswith(role) and any(action.startswith("kms:") for action in actions):
                found.setdefault(text_of(statement["Resource"]), set()).update(actions)
    return found


@pytest.mark.parametrize(
    ("read_only", "actions"), [(False, {"kms:GenerateDataKey", "kms:Decrypt"}), (True, {"kms:Decrypt"})]
)
def test_who_is_attached_to_a_cache_that_seals_may_use_the_key(
    stack: cdk.Stack, actions: set[str], *, read_only: bool
) -> None:
    key = kms.Key(stack, "Key")
    cache = StripeCache(stack, "Cache", entry_key=key, monitoring=False)
    cache.attach(plain(stack), read_only=read_only)
    template = render(stack)
    arn = stack.resolve(key.key_arn)
    assert kms_of(template, "MineServiceRole") == {text_of(arn): actions}
    assert of_function(template, "Mine")["Environment"]["Variables"][env.KMS_KEY] == arn
    functions = resources(template, "AWS::Lambda::Function")
    assert len(functions) == 3
    assert all(env.KMS_KEY in found["Properties"]["Environment"]["Variables"] for found in functions.values())


def test_the_previous_key_only_opens(stack: cdk.Stack) -> None:
    new, old = kms.Key(stack, "Key"), kms.Key.from_key_arn(stack, "Old", SECOND)
    StripeCache(stack, "Cache", entry_key=new, previous_entry_key=old, monitoring=False).attach(plain(stack))
    template = render(stack)
    assert kms_of(template, "MineServiceRole") == {
        text_of(stack.resolve(new.key_arn)): {"kms:GenerateDataKey", "kms:Decrypt"},
        text_of(SECOND): {"kms:Decrypt"},
    }
    told = of_function(template, "Mine")["Environment"]["Variables"][env.KMS_KEY]
    assert told == {"Fn::Join": ["", [stack.resolve(new.key_arn), f",{SECOND}"]]}


def test_a_package_that_cannot_seal_is_refused_and_the_house_ones_can(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", entry_key=kms.Key(stack, "Key"), purge=True)
    without = RuntimeFunction(stack, "Without", handler="mine.handler")
    with pytest.raises(ConstructError, match=r"^Test/Without: the cache at Test/Cache seals.*extras="):
        cache.attach(without)
    cache.attach(
        RuntimeFunction(stack, "With", handler="mine.handler", options=FunctionOptions(extras=("encryption",)))
    )
    assert cache.webhook
    assert cache.purge
    made = (cache.webhook.function, cache.webhook.consumer.function, cache.purge.function)
    assert all(package and package.seals for package in map(package_of, made))


def test_the_package_that_seals_has_what_it_takes(tmp_path: Path) -> None:
    Bundle(extras=("encryption",)).build(tmp_path)
    assert list((tmp_path / "cryptography" / "hazmat" / "bindings").glob("_rust*.so"))
    assert (tmp_path / "stripe_cache" / "tiers" / "sealing.py").exists()


def test_an_alias_is_refused_because_no_permission_would_come_of_it(stack: cdk.Stack) -> None:
    alias = kms.Alias.from_alias_name(stack, "Alias", "alias/mine")
    with pytest.raises(
        ConstructError, match=r"^Test/Cache: encryption_key=Test/Alias \(imported\): give a key such .* and no alias$"
    ):
        StripeCache(stack, "Cache", encryption_key=alias)


def test_a_sweep_takes_a_list_of_accounts_and_a_number_of_calls(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", monitoring=False)
    with pytest.raises(ConstructError, match=r"^Test/Text: accounts='acct_1': give a list of texts"):
        Reconciler(stack, "Text", cache=cache, accounts="acct_1")
    with pytest.raises(ConstructError, match=r"^Test/None: calls=0 allows no request"):
        Reconciler(stack, "None", cache=cache, calls=0)


def test_a_key_of_yours_encrypts_all_that_is_kept(stack: cdk.Stack) -> None:
    key = kms.Key(stack, "Key")
    cache = StripeCache(stack, "Cache", topology=Topology.PUBLIC_VALKEY, encryption_key=key, retain=True)
    cache.attach(plain(stack))
    template = render(stack)
    arn = stack.resolve(key.key_arn)
    for kind, name, count in (
        ("AWS::SecretsManager::Secret", "KmsKeyId", 2),
        ("AWS::SQS::Queue", "KmsMasterKeyId", 2),
        ("AWS::ElastiCache::ServerlessCache", "KmsKeyId", 1),
    ):
        found = resources(template, kind).values()
        assert [one["Properties"][name] for one in found] == [arn] * count
        assert {one["DeletionPolicy"] for one in found} == {"Delete" if "ElastiCache" in kind else "Retain"}
    assert not [one for one in resources(template, "AWS::SQS::Queue").values() if "SqsManagedSseEnabled" in one]
    (table,) = resources(template, "AWS::DynamoDB::GlobalTable").values()
    assert table["Properties"]["Replicas"][0]["SSESpecification"] == {"KMSMasterKeyId": arn}
    # To read the secret and the table, to write to the table and the queue.
    assert {"kms:Decrypt", "kms:GenerateDataKey"} <= kms_of(template, "MineServiceRole")[text_of(arn)]


@pytest.mark.parametrize(("retain", "policy"), [(True, "Retain"), (False, "Delete")])
def test_the_queues_are_kept_like_the_rest(stack: cdk.Stack, policy: str, *, retain: bool) -> None:
    StripeCache(stack, "Cache", retain=retain, monitoring=False)
    queues = resources(render(stack), "AWS::SQS::Queue").values()
    assert {queue["DeletionPolicy"] for queue in queues} == {policy}


@pytest.mark.parametrize("topology", Topology)
def test_only_the_purge_function_may_search_and_erase(stack: cdk.Stack, topology: Topology) -> None:
    cache = StripeCache(stack, "Cache", topology=topology, purge=True)
    cache.attach(plain(stack))
    template = render(stack)
    expected = set(PURGE)
    purge = next(
        found["Properties"]
        for found in resources(template, "AWS::Lambda::Function").values()
        if found["Properties"]["Handler"] == HANDLER
    )
    if topology is not Topology.DYNAMODB_ONLY:
        expected.add("elasticache:Connect")
        assert "-purger&" in text_of(purge["Environment"]["Variables"][env.REDIS_URL])
        users = resources(template, "AWS::ElastiCache::User")
        (purger,) = (name for name in users if "Purger" in name)
        (group,) = resources(template, "AWS::ElastiCache::UserGroup").values()
        assert group["Properties"]["UserIds"][-1] == {"Ref": purger}
        may_scan = [name for name, user in users.items() if "+scan" in user["Properties"]["AccessString"].split()]
        assert may_scan == [purger]
    granted = actions_of(template, "CachePurgeFunctionRole")
    assert {action for action in granted if not action.startswith(("logs:", "xray:"))} == expected
    for name in resources(template, "AWS::IAM::Policy"):
        if not name.startswith("CachePurge"):
            assert not actions_of(template, name) & {"dynamodb:Scan", "dynamodb:DeleteItem"}
    for kept_out in (env.API_KEY_SECRET, env.WEBHOOK_SECRET, env.INVALIDATION_QUEUE_URL):
        assert kept_out not in purge["Environment"]["Variables"]
    alarms = text_of(resources(template, "AWS::CloudWatch::Alarm"))
    assert "CachePurgeFunction" in alarms


def test_there_is_no_purge_unless_it_is_asked_for(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", topology=Topology.PUBLIC_VALKEY)
    template = render(stack)
    assert cache.purge is None
    assert "dynamodb:Scan" not in text_of(template)
    assert len(resources(template, "AWS::ElastiCache::User")) == 2


def customised(**changes: object) -> dict[str, object]:
    return {
        "customer_key": "true",
        "encrypt_entries": "true",
        "point_in_time_recovery": "true",
        "purge": "true",
        **changes,
    }


def test_a_stage_can_ask_for_all_of_it() -> None:
    app = make_app()
    config = stage_config("prod", **customised(interface_endpoints="sqs,secretsmanager,kms"))
    stacks = build_stage(app, config)
    assembly = app.synth()
    store, service, monitoring = (
        assembly.get_stack_by_name(stack.stack_name).template
        for stack in (stacks.store, stacks.service, stacks.monitoring)
    )
    keys = resources(store, "AWS::KMS::Key")
    assert len(keys) == 2
    assert all(key["Properties"]["EnableKeyRotation"] and key["DeletionPolicy"] == "Retain" for key in keys.values())
    (table,) = resources(store, "AWS::DynamoDB::GlobalTable").values()
    (replica,) = table["Properties"]["Replicas"]
    assert replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
    (logs,) = resources(store, "AWS::Logs::LogGroup").values()
    assert "KmsKeyId" in logs["Properties"]
    assert logs["DeletionPolicy"] == "Retain"
    kinds = [found["Properties"]["VpcEndpointType"] for found in resources(store, "AWS::EC2::VPCEndpoint").values()]
    assert sorted(kinds) == ["Gateway", "Gateway", "Interface", "Interface", "Interface"]
    written = [found["Properties"] for found in resources(service, "AWS::Logs::LogGroup").values()]
    assert len(written) == 8, "six functions and two APIs"
    assert all("KmsKeyId" in found for found in written)
    policies = [key["Properties"]["KeyPolicy"] for key in keys.values()]
    assert ["logs." in text_of(policy) for policy in policies].count(True) == 1
    functions = [found["Properties"] for found in resources(service, "AWS::Lambda::Function").values()]
    assert {function["Handler"] for function in functions} == {*HANDLERS.values(), HANDLER}
    assert all(env.KMS_KEY in function["Environment"]["Variables"] for function in functions)
    # One and the same package, which can seal: the previous test says what makes it able to.
    assert len({json.dumps(function["Code"]) for function in functions}) == 1
    purge = next(name for name in resources(service, "AWS::Lambda::Function") if name.startswith("Purge"))
    assert f"Ref{purge}" in text_of(resources(monitoring, "AWS::CloudWatch::Alarm"))
    assert "Fn::ImportValue" not in text_of(service)


@pytest.mark.parametrize(
    "more",
    [
        {"topology": "dynamodb-only"},
        {"topology": "vpc-valkey", "interface_endpoints": "sqs"},
        {"topology": "vpc-valkey", "redis_kind": "nodes", "shards": "2", "azs": "3"},
    ],
)
def test_cdk_nag_finds_nothing_in_what_a_stage_can_ask_for(more: dict[str, object], tmp_path: Path) -> None:
    app = cdk.App(analytics_reporting=False, outdir=str(tmp_path), context=CONTEXT | {"aws:cdk:bundling-stacks": []})
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app), cdk_nag.ServerlessChecks(app))
    build_stage(app, stage_config("dev", **customised(**more)))
    app.synth()
    report = json.loads((tmp_path / "validation-report.json").read_text())
    assert [one for plugin in report["pluginReports"] for one in plugin.get("violations", [])] == []
