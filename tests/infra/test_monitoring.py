from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING

import pytest
from dashboards import arithmetic, metrics_emitted, metrics_read, of_alarms, shown
from synthesis import COMBINATIONS, render, resources, template_of, text_of

from stripe_cache_cdk import (
    CacheNetwork,
    Events,
    InfrastructureError,
    Monitoring,
    RedisKind,
    StripeCache,
    Thresholds,
    Topology,
)
from stripe_cache_cdk.constructs.monitoring import metrics
from stripe_cache_cdk.constructs.monitoring.metrics import CacheMetrics

if TYPE_CHECKING:
    import aws_cdk as cdk

EVERYWHERE = pytest.mark.parametrize(("stage", "topology"), COMBINATIONS)


@EVERYWHERE
def test_every_alarm_reads_what_the_runtime_emits_or_aws_does(stage: str, topology: Topology) -> None:
    read = of_alarms(template_of(stage, topology, "monitoring"))
    ours = [metric for metric in read if metric["Namespace"] == metrics.NAMESPACE]
    assert ours
    for metric in ours:
        dimensions = {item["Name"]: item["Value"] for item in metric["Dimensions"]}
        assert dimensions.pop("service") == "stripe-cache"
        assert dimensions.pop("stage") == stage
        assert frozenset(dimensions) in metrics.DIMENSIONS[metric["MetricName"]]
    others = {metric["Namespace"] for metric in read} - {metrics.NAMESPACE}
    assert others <= {"AWS/DynamoDB", "AWS/ElastiCache", "AWS/Lambda", "AWS/SQS"}


@EVERYWHERE
def test_every_widget_shows_what_the_runtime_emits_or_aws_does(stage: str, topology: Topology) -> None:
    lines = [line for line in shown(template_of(stage, topology, "monitoring")) if isinstance(line[0], str)]
    ours = [line for line in lines if line[0] == metrics.NAMESPACE]
    assert {line[1] for line in ours} == set(metrics.DIMENSIONS)
    for _, name, *rest in ours:
        words = [word for word in rest if isinstance(word, str)]
        dimensions = dict(zip(words[::2], words[1::2], strict=True))
        assert dimensions.pop("service") == "stripe-cache"
        assert dimensions.pop("stage") == stage
        assert frozenset(dimensions) in metrics.DIMENSIONS[name]


@EVERYWHERE
def test_all_arithmetic_survives_periods_without_traffic(stage: str, topology: Topology) -> None:
    template = template_of(stage, topology, "monitoring")
    written = arithmetic(template)
    assert written
    for expression in written:
        if expression.startswith("MAX(["):
            continue
        used = set(re.findall(r"\b[a-z][a-zA-Z0-9_]*\b", expression))
        filled = set(re.findall(r"FILL\(([a-z][a-zA-Z0-9_]*),0\)", expression))
        assert used == filled, expression
        assert "/" not in expression or expression.startswith("IF("), expression


@EVERYWHERE
def test_every_alarm_rings_the_encrypted_topic_and_not_for_silence(stage: str, topology: Topology) -> None:
    template = template_of(stage, topology, "monitoring")
    ((topic, found),) = resources(template, "AWS::SNS::Topic").items()
    assert "KmsMasterKeyId" in found["Properties"]
    for name, alarm in resources(template, "AWS::CloudWatch::Alarm").items():
        assert alarm["Properties"]["AlarmActions"] == [{"Ref": topic}], name
        assert alarm["Properties"]["TreatMissingData"] == "notBreaching", name
        assert alarm["Properties"]["AlarmDescription"].startswith("stripe-cache: "), name
    (key,) = resources(template, "AWS::KMS::Key").values()
    assert "cloudwatch.amazonaws.com" in text_of(key["Properties"]["KeyPolicy"])


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
    assert sorted(thresholds.values()) == [12_000, 24_000]


def test_the_storage_alarm_follows_the_cap() -> None:
    template = template_of("prod", Topology.VPC_VALKEY, "monitoring")
    (storage,) = [
        alarm["Properties"]["Threshold"]
        for name, alarm in resources(template, "AWS::CloudWatch::Alarm").items()
        if "RedisStorage" in name
    ]
    assert storage == 0.8 * 10 * 1024**3


def test_nodes_are_watched_one_by_one(stack: cdk.Stack) -> None:
    cache = StripeCache(
        stack,
        "Cache",
        topology=Topology.VPC_VALKEY,
        network=CacheNetwork(stack, "Network"),
        redis_kind=RedisKind.NODES,
        replicas=1,
        events=Events.NONE,
    )
    assert cache.redis
    alarm = text_of(
        [found for name, found in resources(render(stack), "AWS::CloudWatch::Alarm").items() if "RedisMemory" in name]
    )
    assert f"{cache.redis.cache_name}-001" in alarm
    assert f"{cache.redis.cache_name}-002" in alarm


@pytest.mark.parametrize(("field", "value"), [("hit_ratio_percent", 101), ("minimum_reads", 0), ("dead_letters", -1)])
def test_a_threshold_out_of_bounds_names_its_field(field: str, value: int) -> None:
    with pytest.raises(InfrastructureError, match=rf"Thresholds\.{field}="):
        dataclasses.replace(Thresholds(), **{field: value})


def test_a_metric_is_not_drawn_under_dimensions_that_nobody_emits() -> None:
    with pytest.raises(KeyError, match=r"OriginCall is not emitted by \['tier'\]"):
        CacheMetrics(stage="dev").count(metrics.ORIGIN_CALL, tier="redis")


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
