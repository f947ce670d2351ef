"""How changes at Stripe reach the cache: webhook, event bus, queue, schedule."""

from __future__ import annotations

import json

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from synthesis import of_function, render, resources, text_of

from stripe_cache_cdk import (
    ConstructError,
    EventBridgeSource,
    Events,
    FunctionOptions,
    InvalidationConsumer,
    InvalidationQueue,
    PeriodicInvocation,
    Reconciler,
    RuntimeFunction,
    StripeCache,
    WebhookEndpoint,
)


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
    with pytest.raises(ConstructError, match=r"^Test/Hook: burst=7: give 9 to 20000 requests"):
        WebhookEndpoint(stack, "Hook", cache=cache, rate=9, burst=7)


BUS = "aws.partner/stripe.com/ed_123"


def test_stripes_event_bus_fills_the_queue_that_the_consumer_empties(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL, monitoring=False)
    InvalidationConsumer(stack, "Consumer", cache=cache)
    source = EventBridgeSource(stack, "Bus", bus_name=BUS, queue=cache.invalidation_queue)
    template = render(stack)
    ((rule_id, rule),) = resources(template, "AWS::Events::Rule").items()
    assert rule["Properties"]["EventBusName"] == BUS
    assert rule["Properties"]["EventPattern"] == {"source": [{"prefix": "aws.partner/stripe.com"}]}
    (target,) = rule["Properties"]["Targets"]
    queue = stack.resolve(cache.invalidation_queue.queue.queue_arn)
    assert target["Arn"] == queue
    assert target["DeadLetterConfig"] == {"Arn": stack.resolve(source.dead_letters.queue_arn)}
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
    (mapping,) = resources(template, "AWS::Lambda::EventSourceMapping").values()
    assert mapping["Properties"]["EventSourceArn"] == queue
    assert not resources(template, "AWS::Lambda::Permission"), "nothing may call a function without waiting for it"
    allowed = [
        (statement["Resource"], statement["Condition"])
        for policy in resources(template, "AWS::SQS::QueuePolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    only = {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule_id, "Arn"]}}}
    assert (queue, only) in allowed
    assert (stack.resolve(source.dead_letters.queue_arn), only) in allowed
    assert len(allowed) == 2


def test_an_event_bus_needs_a_queue_and_nothing_else_of_the_cache(stack: cdk.Stack) -> None:
    EventBridgeSource(stack, "Bus", bus_name=BUS, queue=InvalidationQueue(stack, "Queue"))
    assert resources(render(stack), "AWS::Events::Rule")


def test_what_a_bus_cannot_deliver_is_under_the_key_of_its_queue(stack: cdk.Stack) -> None:
    key = kms.Key(stack, "Key")
    queue = InvalidationQueue(stack, "Queue", encryption_key=key, removal_policy=cdk.RemovalPolicy.RETAIN)
    EventBridgeSource(stack, "Bus", bus_name=BUS, queue=queue)
    template = render(stack)
    queues = resources(template, "AWS::SQS::Queue")
    assert len(queues) == 3
    for name, found in queues.items():
        assert found["Properties"]["KmsMasterKeyId"] == stack.resolve(key.key_arn)
        assert found["DeletionPolicy"] == ("Delete" if name.startswith("Bus") else "Retain"), name
    (policy,) = resources(template, "AWS::KMS::Key").values()
    assert "events.amazonaws.com" in text_of(policy["Properties"]["KeyPolicy"])


def test_a_bus_that_is_not_stripes_is_refused(stack: cdk.Stack) -> None:
    with pytest.raises(ConstructError, match=r"^Test/Bus: bus_name='default' is not Stripe's"):
        EventBridgeSource(stack, "Bus", bus_name="default", queue=InvalidationQueue(stack, "Queue"))


def test_a_bus_in_another_stack_than_its_queue_is_refused(stack: cdk.Stack) -> None:
    other = cdk.Stack(stack.node.scope, "Other")
    with pytest.raises(
        ConstructError, match=r"^Other/Bus: its queue is in stack Test and it in Other.*: make it in Test"
    ):
        EventBridgeSource(other, "Bus", bus_name=BUS, queue=InvalidationQueue(stack, "Queue"))


@pytest.mark.parametrize("snap_start", [False, True])
def test_a_schedule_calls_with_its_payload_and_keeps_what_failed(stack: cdk.Stack, *, snap_start: bool) -> None:
    options = FunctionOptions(snap_start=snap_start)
    function = RuntimeFunction(stack, "Warmer", handler="mine.handler", options=options)
    hourly = PeriodicInvocation(
        stack, "Hourly", function=function, every=cdk.Duration.hours(1), payload={"warm": ["prices"]}
    )
    daily = PeriodicInvocation(stack, "Daily", function=function, every=cdk.Duration.days(1))
    template = render(stack)
    rules = {key: rule["Properties"] for key, rule in resources(template, "AWS::Events::Rule").items()}
    assert sorted(rule["ScheduleExpression"] for rule in rules.values()) == ["rate(1 day)", "rate(1 hour)"]
    kept = stack.resolve(hourly.dead_letters.queue_arn)
    assert hourly.dead_letters is daily.dead_letters
    ages = {}
    for rule in rules.values():
        (target,) = rule["Targets"]
        assert target["DeadLetterConfig"] == {"Arn": kept}
        ages[rule["ScheduleExpression"]] = target["RetryPolicy"]["MaximumEventAgeInSeconds"]
        assert target["RetryPolicy"]["MaximumRetryAttempts"] == 2
        assert ("Live" in text_of(target["Arn"])) == snap_start
    assert ages == {"rate(1 hour)": 3600, "rate(1 day)": 21600}
    assert '{"warm":["prices"]}' in [rule["Targets"][0].get("Input") for rule in rules.values()]
    ((_, config),) = resources(template, "AWS::Lambda::EventInvokeConfig").items()
    assert config["Properties"]["DestinationConfig"] == {"OnFailure": {"Destination": kept}}
    assert config["Properties"]["MaximumRetryAttempts"] == 2
    assert config["Properties"]["MaximumEventAgeInSeconds"] == 3600
    assert config["Properties"]["Qualifier"] == ("live" if snap_start else "$LATEST")
    assert any("Policy" in name for name in config["DependsOn"]), "Lambda checks that the role may send"
    (queue,) = resources(template, "AWS::SQS::Queue").values()
    assert queue["Properties"]["SqsManagedSseEnabled"] is True


def test_the_webhooks_route_has_a_limit_of_its_own(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL, monitoring=False)
    WebhookEndpoint(stack, "Hook", cache=cache, rate=7, burst=9)
    template = render(stack)
    (stage,) = resources(template, "AWS::ApiGatewayV2::Stage").values()
    limits = {"ThrottlingRateLimit": 7, "ThrottlingBurstLimit": 9, "DetailedMetricsEnabled": True}
    assert stage["Properties"]["RouteSettings"] == {"POST /stripe/events": limits}
    ((route, _),) = resources(template, "AWS::ApiGatewayV2::Route").items()
    assert route in stage["DependsOn"], "API Gateway refuses the settings of a route that is not there yet"
    assert "ReservedConcurrentExecutions" not in of_function(template, "HookFunction")


def test_a_webhook_that_could_never_run_is_refused(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL)
    with pytest.raises(ConstructError, match=r"^Test/Hook: reserved_concurrency=0 would refuse every event: reserve 1"):
        WebhookEndpoint(stack, "Hook", cache=cache, reserved_concurrency=0)


def test_a_sweep_rarer_than_a_day_is_refused(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL)
    with pytest.raises(
        ConstructError, match=r"^Test/Reconciler: every=172800 s is longer than a day: sweep once a day"
    ):
        Reconciler(stack, "Reconciler", cache=cache, every=cdk.Duration.days(2))


def test_a_schedule_of_no_whole_minutes_is_refused(stack: cdk.Stack) -> None:
    function = RuntimeFunction(stack, "Warmer", handler="mine.handler")
    for seconds in (30, 90):
        with pytest.raises(ConstructError, match=rf"^Test/Every{seconds}: every={seconds} s: .* whole minutes, pass 1"):
            PeriodicInvocation(stack, f"Every{seconds}", function=function, every=cdk.Duration.seconds(seconds))


def test_a_reconciler_sweeps_on_schedule_what_it_was_told_to(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL)
    Reconciler(stack, "Reconciler", cache=cache, every=cdk.Duration.minutes(30), accounts=["acct_1"], calls=5)
    template = render(stack)
    (rule,) = resources(template, "AWS::Events::Rule").values()
    (target,) = rule["Properties"]["Targets"]
    assert rule["Properties"]["ScheduleExpression"] == "rate(30 minutes)"
    assert json.loads(target["Input"]) == {"calls": 5, "accounts": ["acct_1"]}
    assert target["DeadLetterConfig"]
    function = of_function(template, "ReconcilerFunction")
    assert function["Handler"] == "stripe_cache.handlers.reconcile.handler"
    assert "STRIPE_CACHE_API_KEY_SECRET" in function["Environment"]["Variables"]
