from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from functions import actions_of, plain
from synthesis import make_app, of_function, render, resources, text_of

import stripe_cache_cdk
from stripe_cache_cdk import (
    CacheNetwork,
    ConstructError,
    Events,
    FunctionOptions,
    Nat,
    StageError,
    StripeCache,
    Topology,
    UsageCaps,
)
from stripe_cache_cdk.constructs import environment as env

if TYPE_CHECKING:
    from constructs import Construct


def test_two_lines_are_enough(stack: cdk.Stack) -> None:
    mine = plain(stack)
    cache = StripeCache(stack, "Cache")
    cache.attach(mine)
    template = render(stack)
    variables = of_function(template, "Mine")["Environment"]["Variables"]
    assert set(variables) == {
        *(env.NAMESPACE, env.LIVEMODE, env.STAGE, env.EVENTS, env.TABLE, env.API_KEY_SECRET),
        *(env.INVALIDATION_QUEUE_URL, env.RESOLVER),
    }
    assert variables[env.EVENTS] == "on"
    assert actions_of(template, "MineServiceRole") == {
        *("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"),
        *("secretsmanager:GetSecretValue", "sqs:SendMessage"),
    }
    assert "VpcConfig" not in of_function(template, "Mine")
    assert resources(template, "AWS::CloudWatch::Dashboard")
    assert resources(template, "AWS::ApiGatewayV2::Route")


@pytest.mark.parametrize("topology", Topology)
def test_each_topology_gives_a_function_what_it_needs(stack: cdk.Stack, topology: Topology) -> None:
    cache = StripeCache(stack, "Cache", topology=topology, events=Events.NONE)
    cache.attach(plain(stack))
    template = render(stack)
    mine = of_function(template, "Mine")
    has_redis = topology is not Topology.DYNAMODB_ONLY
    assert (env.REDIS_URL in mine["Environment"]["Variables"]) == has_redis
    assert ("elasticache:Connect" in actions_of(template, "MineServiceRole")) == has_redis
    assert ("VpcConfig" in mine) == (topology is Topology.VPC_VALKEY)
    if topology is Topology.VPC_VALKEY:
        assert len(mine["VpcConfig"]["SubnetIds"]) == 2
        assert "ClientGroup" in text_of(mine["VpcConfig"]["SecurityGroupIds"])
        assert "AWSLambdaVPCAccessExecutionRole" in text_of(resources(template, "AWS::IAM::Role"))
    assert mine["Environment"]["Variables"][env.EVENTS] == "off"
    assert env.INVALIDATION_QUEUE_URL not in mine["Environment"]["Variables"]


def test_an_architecture_that_lambda_lacks_is_refused() -> None:
    with pytest.raises(StageError, match=r"^architecture='mips' is unknown: choose one of arm64"):
        FunctionOptions(architecture="mips")  # type: ignore[arg-type]  # Wrong on purpose.


def test_logs_can_be_under_a_key_of_yours(stack: cdk.Stack) -> None:
    key = kms.Key(stack, "Key")
    StripeCache(stack, "Cache", function_options=FunctionOptions(log_key=key), monitoring=False)
    template = render(stack)
    groups = resources(template, "AWS::Logs::LogGroup").values()
    assert len(groups) == 3, "the webhook's function, its API, and the consumer"
    assert {text_of(group["Properties"]["KmsKeyId"]) for group in groups} == {text_of(stack.resolve(key.key_arn))}
    (policy,) = resources(template, "AWS::KMS::Key").values()
    (logs,) = [one for one in policy["Properties"]["KeyPolicy"]["Statement"] if "logs." in text_of(one["Principal"])]
    assert "log-group:*" in text_of(logs["Condition"])


def test_read_only_may_neither_fill_nor_void(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", topology=Topology.PUBLIC_VALKEY)
    cache.attach(plain(stack), read_only=True)
    template = render(stack)
    assert actions_of(template, "MineServiceRole") == {
        *("dynamodb:BatchGetItem", "dynamodb:GetItem", "elasticache:Connect", "secretsmanager:GetSecretValue"),
    }
    variables = of_function(template, "Mine")["Environment"]["Variables"]
    assert "-reader" in text_of(variables[env.REDIS_URL])
    assert env.INVALIDATION_QUEUE_URL not in variables


def test_a_function_that_calls_nothing_gets_no_key(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache")
    cache.attach(plain(stack), calls_stripe=False)
    template = render(stack)
    assert env.API_KEY_SECRET not in of_function(template, "Mine")["Environment"]["Variables"]
    assert "secretsmanager:GetSecretValue" not in actions_of(template, "MineServiceRole")


def test_a_function_of_another_stack_is_attached_without_a_circle() -> None:
    app = make_app()
    store, theirs = cdk.Stack(app, "Store"), cdk.Stack(app, "Theirs")
    cache = StripeCache(store, "Cache", topology=Topology.VPC_VALKEY)
    placed = plain(theirs, "Placed")
    inside = plain(theirs, "Inside", vpc=cache.network.vpc if cache.network else None)
    cache.attach(placed)
    cache.attach(inside)
    template = render(theirs)
    assert "Fn::GetStackOutput" in text_of(of_function(template, "Placed")["VpcConfig"])
    rules = [rule["Properties"]["FromPort"] for rule in resources(template, "AWS::EC2::SecurityGroupIngress").values()]
    assert sorted(rules) == [6379, 6380]
    assert theirs.dependencies == [store]


@pytest.mark.parametrize(
    ("runtime", "told"),
    [
        (lambda_.Runtime.PYTHON_3_10, r"its runtime is python3\.10, and stripe-cache needs Python 3\.11"),
        (lambda_.Runtime.NODEJS_22_X, r"its runtime is nodejs22\.x"),
    ],
)
def test_a_wrong_runtime_is_refused(stack: cdk.Stack, runtime: lambda_.Runtime, told: str) -> None:
    mine = plain(stack, runtime=runtime)
    with pytest.raises(ConstructError, match=rf"^Test/Mine: {told}.*: use Runtime\.PYTHON_3_13$"):
        StripeCache(stack, "Cache").attach(mine)


def test_a_function_in_another_vpc_is_refused(stack: cdk.Stack) -> None:
    mine = plain(stack, vpc=ec2.Vpc(stack, "Other", restrict_default_security_group=False))
    cache = StripeCache(stack, "Cache", topology=Topology.VPC_VALKEY)
    with pytest.raises(ConstructError, match=r"^Test/Mine: it is in another VPC than the cache at Test/Cache/Redis"):
        cache.attach(mine)


def test_a_function_without_a_way_out_is_refused_unless_it_needs_none(stack: cdk.Stack) -> None:
    network = CacheNetwork(stack, "Network")
    where = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
    cache = StripeCache(stack, "Cache", topology=Topology.VPC_VALKEY, network=network)
    with pytest.raises(ConstructError, match=r"^Test/Reader: .*cannot reach Stripe: put it into private subnets"):
        cache.attach(plain(stack, "Reader", vpc=network.vpc, vpc_subnets=where))
    cache.attach(plain(stack, "Voider", vpc=network.vpc, vpc_subnets=where), calls_stripe=False)


def test_a_vpc_of_one_zone_is_refused(stack: cdk.Stack) -> None:
    vpc = ec2.Vpc.from_vpc_attributes(
        stack,
        "Theirs",
        vpc_id="vpc-1",
        availability_zones=["a"],
        private_subnet_ids=["subnet-1"],
        private_subnet_route_table_ids=["rtb-1"],
    )
    with pytest.raises(ConstructError, match=r"^Test/Cache/Network: .* lie in one availability zone"):
        StripeCache(stack, "Cache", topology=Topology.VPC_VALKEY, vpc=vpc)


def test_what_is_exported_is_sorted_and_there() -> None:
    names = stripe_cache_cdk.__all__
    # Constants, then classes, then functions, each from A to Z.
    assert names == sorted(names, key=lambda name: (not name.isupper(), name.islower(), name))
    assert all(hasattr(stripe_cache_cdk, name) for name in names)


def test_an_imported_function_is_refused(stack: cdk.Stack) -> None:
    imported = lambda_.Function.from_function_arn(
        stack, "Theirs", "arn:aws:lambda:us-east-1:123456789012:function:theirs"
    )
    with pytest.raises(ConstructError, match=r"^Test/Theirs: an imported function.*: attach the aws_lambda\.Function"):
        StripeCache(stack, "Cache").attach(imported)


def test_a_function_is_attached_once(stack: cdk.Stack) -> None:
    cache, mine = StripeCache(stack, "Cache"), plain(stack)
    cache.attach(mine)
    with pytest.raises(ConstructError, match="attached to this cache already"):
        cache.attach(mine)


@pytest.mark.parametrize("topology", [Topology.DYNAMODB_ONLY, Topology.PUBLIC_VALKEY])
def test_a_network_where_none_is_used_is_refused(stack: cdk.Stack, topology: Topology) -> None:
    network = CacheNetwork(stack, "Network")
    with pytest.raises(ConstructError, match=r"^Test/Cache: topology .* uses no VPC"):
        StripeCache(stack, "Cache", topology=topology, network=network)


def test_a_network_without_a_way_out_is_refused(stack: cdk.Stack) -> None:
    network = CacheNetwork(stack, "Network", nat=Nat.NONE)
    with pytest.raises(ConstructError, match=r"cannot reach Stripe.*nat=gateway or nat=instance"):
        StripeCache(stack, "Cache", topology=Topology.VPC_VALKEY, network=network)


def test_secrets_of_yours_are_used_by_reference(stack: cdk.Stack) -> None:
    key = secretsmanager.Secret.from_secret_name_v2(stack, "Key", "stripe/key")
    signing = secretsmanager.Secret(stack, "Signing")
    cache = StripeCache(stack, "Cache", api_key_secret=key, webhook_secret=signing, monitoring=False)
    cache.attach(plain(stack))
    template = render(stack)
    assert len(resources(template, "AWS::SecretsManager::Secret")) == 1
    assert "stripe/key-??????" in text_of(resources(template, "AWS::IAM::Policy"))
    webhook = of_function(template, "CacheWebhookFunction")["Environment"]["Variables"]
    assert webhook[env.WEBHOOK_SECRET] == {"Ref": stack.get_logical_id(_resource(signing))}


def test_without_events_there_is_no_queue(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.NONE)
    with pytest.raises(ConstructError, match='events="external"'):
        _ = cache.invalidation_queue


@pytest.mark.parametrize(
    ("props", "told"),
    [
        ({"topology": "moon"}, "topology='moon' is unknown: choose one of dynamodb-only"),
        ({"topology": None}, "topology=None is unknown: choose one of"),
        ({"events": "maybe"}, "events='maybe' is unknown: choose one of webhook"),
        ({"stage": ""}, "stage='': give 1 to 64 letters"),
        ({"stage": "a b"}, "stage='a b': give"),
        ({"stage": 3}, "stage=3: give text"),
        ({"namespace": "default"}, "namespace='default' is what an unset one is called: label the Stripe account"),
        ({"namespace": ""}, "namespace='': give 1 to 64"),
        ({"namespace": "a|b"}, r"namespace='a\|b': give"),
        ({"usage_caps": UsageCaps()}, "usage_caps: topology dynamodb-only has no Valkey: leave"),
        ({"livemode": "false"}, "livemode='false': give True or False"),
        ({"purge": 1}, "purge=1: give True or False"),
        ({"api_key_secret": "sk_live_1"}, r"api_key_secret=a str \(not shown\): give a secret such as"),
        ({"entry_key": "alias/mine"}, "entry_key='alias/mine': give a key such as"),
        ({"network": "vpc-1"}, "network='vpc-1': give a CacheNetwork"),
        ({"topology": Topology.VPC_VALKEY, "vpc": "vpc-1"}, "vpc='vpc-1': give a VPC such as"),
    ],
)
def test_a_bad_prop_is_refused_with_the_path(stack: cdk.Stack, props: dict[str, Any], told: str) -> None:
    with pytest.raises(ConstructError, match=rf"^Test/Cache(: |/){told}"):
        StripeCache(stack, "Cache", **props)


def test_an_old_key_without_a_new_one_is_refused(stack: cdk.Stack) -> None:
    with pytest.raises(ConstructError, match=r"^Test/Cache: previous_entry_key without entry_key: pass the new key"):
        StripeCache(stack, "Cache", previous_entry_key=kms.Key(stack, "Key"))


def test_a_topology_may_be_given_as_text(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", topology="public-valkey")  # type: ignore[arg-type]  # As an untyped caller would.
    assert cache.topology is Topology.PUBLIC_VALKEY
    assert cache.redis


def _resource(construct: Construct) -> cdk.CfnElement:
    child = construct.node.default_child
    assert isinstance(child, cdk.CfnElement)
    return child
