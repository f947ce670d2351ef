"""How changes at Stripe reach the cache: webhook, event bus, queue, schedule."""

from __future__ import annotations

import json

import aws_cdk as cdk
import pytest
from synthesis import of_function, render, resources, text_of

from stripe_cache_cdk import (
    ConstructError,
    EventBridgeSource,
    Events,
    FunctionOptions,
    InvalidationConsumer,
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
