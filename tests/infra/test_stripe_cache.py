from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from synthesis import make_app, render, resources, text_of

import stripe_cache_cdk
from stripe_cache_cdk import (
    CacheNetwork,
    ConstructError,
    EventBridgeSource,
    Events,
    FunctionOptions,
    InvalidationConsumer,
    Nat,
    PeriodicInvocation,
    RuntimeFunction,
    StripeCache,
    Topology,
    WebhookEndpoint,
)
from stripe_cache_cdk.constructs import environment as env

if TYPE_CHECKING:
    from constructs import Construct


def plain(scope: Construct, name: str = "Mine", **props: Any) -> lambda_.Function:
    """Return a function as a user's app has it."""
    props = {"runtime": lambda_.Runtime.PYTHON_3_13} | props
    return lambda_.Function(
        scope, name, handler="index.handler", code=lambda_.Code.from_inline("def handler(event, context): ..."), **props
    )


def of_function(template: dict[str, Any], name: str) -> dict[str, Any]:
    found = [value for key, value in resources(template, "AWS::Lambda::Function").items() if key.startswith(name)]
    assert len(found) == 1
    properties: dict[str, Any] = found[0]["Properties"]
    return properties


def actions_of(template: dict[str, Any], name: str) -> set[str]:
    return {
        action
        for key, policy in resources(template, "AWS::IAM::Policy").items()
        if key.startswith(name)
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


def test_two_lines_are_enough(stack: cdk.Stack) -> None:
    mine = plain(stack)
    cache = StripeCache(stack, "Cache")
    cache.attach(mine)
    template = render(stack)
    variables = of_function(template, "Mine")["Environment"]["Variables"]
    assert set(variables) == {
        *(env.NAMESPACE, env.LIVEMODE, env.STAGE, env.EVENTS, env.TABLE),
        *(env.API_KEY_SECRET, env.INVALIDATION_QUEUE_URL),
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
    with pytest.raises(ConstructError, match=r"^Test/Cache/Redis: Test/Cache/Network has one subnet for it"):
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


def test_the_consumer_reports_which_messages_failed(stack: cdk.Stack) -> None:
    StripeCache(stack, "Cache")
    template = render(stack)
    (mapping,) = resources(template, "AWS::Lambda::EventSourceMapping").values()
    assert mapping["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    queue = next(
        found["Properties"]
        for found in resources(template, "AWS::SQS::Queue").values()
        if "RedrivePolicy" in found["Properties"]
    )
    consumer = of_function(template, "CacheWebhookConsumerFunction")
    assert queue["VisibilityTimeout"] >= 6 * consumer["Timeout"]


def test_the_webhook_is_throttled_and_logged(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL, monitoring=False)
    WebhookEndpoint(stack, "Hook", cache=cache, rate=7, burst=9, reserved_concurrency=3)
    template = render(stack)
    (stage,) = resources(template, "AWS::ApiGatewayV2::Stage").values()
    settings = stage["Properties"]["DefaultRouteSettings"]
    assert (settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]) == (7, 9)
    assert "$context.status" in stage["Properties"]["AccessLogSettings"]["Format"]
    assert of_function(template, "HookFunction")["ReservedConcurrentExecutions"] == 3
    assert [route["Properties"]["RouteKey"] for route in resources(template, "AWS::ApiGatewayV2::Route").values()] == [
        "POST /stripe/events"
    ]


def test_a_burst_below_the_rate_is_refused(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL)
    with pytest.raises(ConstructError, match=r"^Test/Hook: rate=9, burst=7"):
        WebhookEndpoint(stack, "Hook", cache=cache, rate=9, burst=7)


def test_stripes_event_bus_reaches_the_same_consumer(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL, monitoring=False)
    consumer = InvalidationConsumer(stack, "Consumer", cache=cache)
    EventBridgeSource(stack, "Bus", bus_name="aws.partner/stripe.com/ed_123", consumer=consumer)
    (rule,) = resources(render(stack), "AWS::Events::Rule").values()
    assert rule["Properties"]["EventBusName"] == "aws.partner/stripe.com/ed_123"
    assert rule["Properties"]["EventPattern"] == {"source": [{"prefix": "aws.partner/stripe.com"}]}
    (target,) = rule["Properties"]["Targets"]
    assert "ConsumerFunction" in text_of(target["Arn"])
    assert "DeadLetterConfig" in target


def test_a_bus_that_is_not_stripes_is_refused(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL)
    consumer = InvalidationConsumer(stack, "Consumer", cache=cache)
    with pytest.raises(ConstructError, match=r"^Test/Bus: bus_name='default' is not Stripe's"):
        EventBridgeSource(stack, "Bus", bus_name="default", consumer=consumer)


def test_a_schedule_calls_with_its_payload_and_keeps_what_failed(stack: cdk.Stack) -> None:
    function = RuntimeFunction(stack, "Warmer", handler="mine.handler")
    PeriodicInvocation(stack, "Hourly", function=function, every=cdk.Duration.hours(1), payload={"warm": ["prices"]})
    (rule,) = resources(render(stack), "AWS::Events::Rule").values()
    assert rule["Properties"]["ScheduleExpression"] == "rate(1 hour)"
    (target,) = rule["Properties"]["Targets"]
    assert target["Input"] == '{"warm":["prices"]}'
    assert "DeadLetterConfig" in target


def test_a_schedule_below_a_minute_is_refused(stack: cdk.Stack) -> None:
    function = RuntimeFunction(stack, "Warmer", handler="mine.handler")
    with pytest.raises(ConstructError, match=r"^Test/Often: every=30 s: a schedule starts at most once a minute"):
        PeriodicInvocation(stack, "Often", function=function, every=cdk.Duration.seconds(30))


def test_with_snap_start_event_sources_call_the_published_version(stack: cdk.Stack) -> None:
    StripeCache(stack, "Cache", function_options=FunctionOptions(snap_start=True), monitoring=False)
    template = render(stack)
    assert len(resources(template, "AWS::Lambda::Alias")) == 2
    (mapping,) = resources(template, "AWS::Lambda::EventSourceMapping").values()
    assert ":live" in text_of(mapping["Properties"]["FunctionName"])
    assert of_function(template, "CacheWebhookFunction")["SnapStart"] == {"ApplyOn": "PublishedVersions"}


def _resource(construct: Construct) -> cdk.CfnElement:
    child = construct.node.default_child
    assert isinstance(child, cdk.CfnElement)
    return child
