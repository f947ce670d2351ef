from __future__ import annotations

import dataclasses
import json
import re

import aws_cdk as cdk
import pytest
from dashboards import (
    alarm_of,
    alarms_by_function,
    arithmetic,
    metrics_emitted,
    metrics_read,
    of_alarms,
    shown,
)
from synthesis import COMBINATIONS, make_app, render, resources, template_of, text_of

from stripe_cache_cdk import (
    CacheNetwork,
    ConstructError,
    EntitlementsEndpoint,
    EventBridgeSource,
    Events,
    Monitoring,
    PeriodicInvocation,
    Reconciler,
    RedisKind,
    RuntimeFunction,
    StripeCache,
    Thresholds,
    Topology,
)
from stripe_cache_cdk.constructs.monitoring import metrics

EVERYWHERE = pytest.mark.parametrize(("stage", "topology"), COMBINATIONS)


@EVERYWHERE
def test_every_metric_read_is_of_this_stage_or_of_aws(stage: str, topology: Topology) -> None:
    """That the runtime emits just these is tested where its handlers are."""
    template = template_of(stage, topology, "monitoring")
    ours = metrics_read(template, metrics.NAMESPACE)
    assert {name for _, name, _ in ours} == set(metrics.DIMENSIONS)
    for _, name, dimensions in ours:
        told = dict(dimensions)
        assert (told.pop("service"), told.pop("stage")) == ("stripe-cache", stage)
        assert frozenset(told) in metrics.DIMENSIONS[name]
    namespaces = {metric["Namespace"] for metric in of_alarms(template)}
    namespaces |= {line[0] for line in shown(template) if isinstance(line[0], str)}
    wanted = {"AWS/ApiGateway", "AWS/DynamoDB", "AWS/Events", "AWS/Lambda", "AWS/SQS", metrics.NAMESPACE}
    assert namespaces == wanted | (set() if topology is Topology.DYNAMODB_ONLY else {"AWS/ElastiCache"})


@EVERYWHERE
def test_all_arithmetic_survives_periods_without_traffic(stage: str, topology: Topology) -> None:
    template = template_of(stage, topology, "monitoring")
    written = arithmetic(template)
    assert written
    for expression in written:
        used = set(re.findall(r"\b[a-z][a-zA-Z0-9_]*\b", expression))
        filled = set(re.findall(r"FILL\(([a-z][a-zA-Z0-9_]*),0\)", expression))
        assert used == filled, expression
        assert "/" not in expression or expression.startswith("IF("), expression


@EVERYWHERE
def test_every_alarm_rings_the_encrypted_topic_and_for_silence_only_of_the_sweep(
    stage: str, topology: Topology
) -> None:
    template = template_of(stage, topology, "monitoring")
    ((topic, found),) = resources(template, "AWS::SNS::Topic").items()
    assert "KmsMasterKeyId" in found["Properties"]
    for name, alarm in resources(template, "AWS::CloudWatch::Alarm").items():
        assert alarm["Properties"]["AlarmActions"] == [{"Ref": topic}], name
        silence = "breaching" if "DidNotRun" in name else "notBreaching"
        assert alarm["Properties"]["TreatMissingData"] == silence, name
        assert alarm["Properties"]["AlarmDescription"].startswith("stripe-cache: "), name
    assert alarm_of(template, "ReconcilerDidNotRun")


def test_only_alarms_of_this_account_may_publish(stack: cdk.Stack) -> None:
    StripeCache(stack, "Cache")
    template = render(stack)
    (key,) = resources(template, "AWS::KMS::Key").values()
    (topic,) = resources(template, "AWS::SNS::TopicPolicy").values()
    for document in (key["Properties"]["KeyPolicy"], topic["Properties"]["PolicyDocument"]):
        (statement,) = [
            one for one in document["Statement"] if one["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        ]
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


FIRST = (
    *("InvalidationsFailed", "AuditStale", "KeyUnavailable", "WebhooksRejected"),
    *("WebhookErrors", "WebhookConsumerErrors", "ReconcilerErrors", "Webhook5xx"),
    *("WebhookThrottles", "EntitlementsThrottles", "ReconcilerScheduleUndelivered"),
    *("InvalidationDeadLettersMessages", "RefreshDeadLettersMessages", "ReconcilerScheduleDeadLettersMessages"),
)
DEGREES = (
    *("HitRatio", "StripeErrors", "WebhookLag", "DynamodbTierErrors"),
    *("EntitlementsErrors", "EntitlementsDuration", "Entitlements5xx", "Entitlements4xx", "Webhook4xx"),
    *("RefreshErrors", "RefreshDuration"),
)


@EVERYWHERE
def test_what_breaks_a_promise_rings_at_the_first_sign(stage: str, topology: Topology) -> None:
    template = template_of(stage, topology, "monitoring")
    for name in FIRST:
        alarm = alarm_of(template, name)
        assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"], alarm["Threshold"]) == (1, 1, 0), name
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
        assert ">=" not in text_of(alarm), f"{name} waits for traffic that a quiet account never has"


@EVERYWHERE
def test_what_is_a_matter_of_degree_must_last_and_needs_traffic(stage: str, topology: Topology) -> None:
    template = template_of(stage, topology, "monitoring")
    for name in (*DEGREES, *(() if topology is Topology.DYNAMODB_ONLY else ("RedisLatency", "RedisTierErrors"))):
        alarm = alarm_of(template, name)
        assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (5, 3), name
        assert ">=" in text_of(alarm["Metrics"]), name


def test_every_threshold_reaches_an_alarm() -> None:
    distinct = {
        field.name: number + 0.5 if field.type == "float" else number * 10_007
        for number, field in enumerate(dataclasses.fields(Thresholds), start=20)
    }
    # These are shares of something else, and have tests of their own.
    shares = {"function_duration_percent", "function_concurrency_percent"}
    told = ""
    for kind in RedisKind:
        stack = cdk.Stack(make_app(), "Test")
        network = CacheNetwork(stack, "Network")
        # Large enough that the limit for its processors is not divided: that has a test of its own.
        cache = StripeCache(
            stack,
            "Cache",
            topology=Topology.VPC_VALKEY,
            network=network,
            redis_kind=kind,
            node_type="cache.r7g.xlarge",
            monitoring=False,
        )
        Reconciler(stack, "Reconciler", cache=cache)
        EntitlementsEndpoint(stack, "Sample", cache=cache)
        limits = Thresholds(**distinct)  # type: ignore[arg-type]  # mypy sees one type for all of them.
        Monitoring(stack, "Watch", cache=cache, thresholds=limits)
        told += text_of(resources(render(stack), "AWS::CloudWatch::Alarm"))
    missing = {name for name, value in distinct.items() if str(value) not in told}
    assert missing == shares


def test_a_function_attached_after_the_monitoring_was_made_is_watched(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache")
    late = RuntimeFunction(stack, "Late", handler="a.b", reserved_concurrency=10)
    cache.attach(late)
    Reconciler(stack, "Sweep", cache=cache, every=cdk.Duration.minutes(7))
    template = render(stack)
    name = stack.get_logical_id(late.node.default_child)  # type: ignore[arg-type]  # a resource
    for metric in ("Errors", "Throttles", "Duration", "ConcurrentExecutions"):
        assert name in alarms_by_function(template, metric)
    assert alarm_of(template, "LateConcurrency")["Threshold"] == 8
    assert name in text_of(resources(template, "AWS::CloudWatch::Dashboard"))
    absent = alarm_of(template, "SweepDidNotRun")
    (read,) = [metric["MetricStat"] for metric in absent["Metrics"]]
    assert (read["Metric"]["MetricName"], read["Period"], absent["Threshold"]) == ("ReconcileSwept", 420, 1)
    assert (absent["EvaluationPeriods"], absent["ComparisonOperator"]) == (3, "LessThanThreshold")
    left = alarm_of(template, "SweepOutboxLeft")
    (read,) = [metric["MetricStat"] for metric in left["Metrics"]]
    assert (read["Metric"]["MetricName"], read["Period"]) == ("OutboxLeft", 420)
    assert [left[name] for name in ("Threshold", "EvaluationPeriods", "DatapointsToAlarm")] == [0, 4, 3]


def test_a_function_of_another_stack_is_watched_there_without_a_circle() -> None:
    app = make_app()
    home, theirs = cdk.Stack(app, "Home"), cdk.Stack(app, "Theirs")
    cache = StripeCache(home, "Cache")
    mine = RuntimeFunction(theirs, "Mine", handler="a.b")
    cache.attach(mine)
    template = render(theirs)
    assert alarms_by_function(template, "Errors") == alarms_by_function(template, "Throttles")
    (watched,) = alarms_by_function(template, "Errors")
    assert watched in resources(template, "AWS::Lambda::Function")
    for alarm in resources(template, "AWS::CloudWatch::Alarm").values():
        assert "Fn::GetStackOutput" in text_of(alarm["Properties"]["AlarmActions"])
    assert theirs.dependencies == [home]


def test_monitoring_of_ones_own_watches_what_the_cache_does_not_know_of(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL, monitoring=False)
    watch = Monitoring(stack, "Watch", cache=cache)
    bus = "aws.partner/stripe.com/ed_1"
    watch.watch(EventBridgeSource(stack, "Bus", bus_name=bus, queue=cache.invalidation_queue))
    warmer = RuntimeFunction(stack, "Warmer", handler="a.b")
    watch.watch(PeriodicInvocation(stack, "Hourly", function=warmer, every=cdk.Duration.hours(1)))
    watch.watch(warmer, "Heater")
    watch.watch(warmer)
    template = render(stack)
    lost = alarm_of(template, "BusUndelivered")
    read = [metric["MetricStat"]["Metric"] for metric in lost["Metrics"] if "MetricStat" in metric]
    assert {metric["MetricName"] for metric in read} == {"FailedInvocations", "InvocationsFailedToBeSentToDlq"}
    for metric in read:
        assert {"Name": "EventBusName", "Value": bus} in metric["Dimensions"]
    assert "EventBusName" not in text_of(alarm_of(template, "HourlyUndelivered")), "it is on the default bus"
    for name in ("BusDeadLettersMessages", "HourlyDeadLettersMessages", "HeaterErrors", "InvalidationsAge"):
        assert alarm_of(template, name)
    with pytest.raises(ConstructError, match=r"^Test/Cache/Dynamo: a DynamoTier cannot be watched: pass a function"):
        watch.watch(cache.dynamo)


def test_the_age_of_the_oldest_message_rings_for_either_queue(stack: cdk.Stack) -> None:
    StripeCache(stack, "Cache", refresh=True)
    template = render(stack)
    for name in ("InvalidationsAge", "RefreshesAge"):
        alarm = alarm_of(template, name)
        assert (alarm["MetricName"], alarm["Threshold"]) == ("ApproximateAgeOfOldestMessage", 60)


def test_ratios_need_a_minimum_of_traffic(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", monitoring=False)
    Monitoring(stack, "Watch", cache=cache, thresholds=Thresholds(minimum_reads=77, hit_ratio_percent=61))
    (alarm,) = [
        found["Properties"]
        for name, found in resources(render(stack), "AWS::CloudWatch::Alarm").items()
        if name.startswith("WatchHitRatio")
    ]
    assert alarm["Threshold"] == 61
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
    assert ">=77," in text_of(alarm["Metrics"])


def test_duration_alarms_follow_the_timeout_of_the_function(stack: cdk.Stack) -> None:
    StripeCache(stack, "Cache")
    alarms = resources(render(stack), "AWS::CloudWatch::Alarm")
    thresholds = {name: alarm["Properties"]["Threshold"] for name, alarm in alarms.items() if "Duration" in name}
    # 80 % of the webhook function's 15 s and the consumer's 30 s.
    assert sorted(thresholds.values()) == [12_000, 24_000]


def test_the_storage_alarm_follows_the_cap() -> None:
    template = template_of("prod", Topology.VPC_VALKEY, "monitoring")
    (storage,) = [
        alarm["Properties"]["Threshold"]
        for name, alarm in resources(template, "AWS::CloudWatch::Alarm").items()
        if "RedisStorage" in name
    ]
    assert storage == 0.8 * 10 * 1024**3


@pytest.mark.parametrize(("retain", "policy"), [(True, "Retain"), (False, "Delete")])
def test_the_key_of_the_alarms_is_kept_like_the_rest(stack: cdk.Stack, policy: str, *, retain: bool) -> None:
    StripeCache(stack, "Cache", events=Events.NONE, retain=retain)
    (key,) = resources(render(stack), "AWS::KMS::Key").values()
    assert key["DeletionPolicy"] == policy


@pytest.mark.parametrize(("field", "value"), [("hit_ratio_percent", 101), ("minimum_reads", 0), ("dead_letters", -1)])
def test_a_threshold_out_of_bounds_names_its_field_and_the_construct(stack: cdk.Stack, field: str, value: int) -> None:
    cache = StripeCache(stack, "Cache", monitoring=False)
    with pytest.raises(ConstructError, match=rf"^Test/Watch: thresholds\.{field}={value}: give "):
        Monitoring(stack, "Watch", cache=cache, thresholds=Thresholds(**{field: value}))


def test_what_is_read_and_what_is_emitted_are_told_in_the_same_words() -> None:
    """The runtime's own output is compared in this way where both sides are tested together."""
    blob = {
        "_aws": {
            "Timestamp": 1,
            "CloudWatchMetrics": [
                {
                    "Namespace": "StripeCache",
                    "Dimensions": [["service", "stage"], ["service", "stage", "tier"]],
                    "Metrics": [{"Name": "Hit", "Unit": "Count"}],
                }
            ],
        },
        "service": "stripe-cache",
        "stage": "dev",
        "tier": "dynamodb",
        "Hit": [1.0],
    }
    emitted = metrics_emitted(f"START\n{json.dumps(blob)}\n[1]\nEND")
    assert len(emitted) == 2
    assert emitted < metrics_read(template_of("dev", Topology.DYNAMODB_ONLY, "monitoring"), "StripeCache")
