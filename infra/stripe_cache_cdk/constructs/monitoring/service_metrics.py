"""What AWS tells about the parts: ElastiCache, DynamoDB, Lambda, HTTP APIs and EventBridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from stripe_cache_cdk.choices import cores_of
from stripe_cache_cdk.config import RedisKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_cdk import aws_apigatewayv2 as apigateway
    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_events as events
    from aws_cdk import aws_lambda as lambda_

    from stripe_cache_cdk.constructs.redis_tier import RedisTier

MINUTE = cdk.Duration.minutes(1)
FIVE_MINUTES = cdk.Duration.minutes(5)
METRICS_PER_ALARM = 10  # What CloudWatch takes in an expression that an alarm looks at.


def redis_metric(tier: RedisTier, name: str, statistic: str, *, label: str = "", node: str = "") -> cloudwatch.Metric:
    """Return an ElastiCache metric of a serverless cache, or of one of the nodes."""
    dimensions = {"CacheClusterId": node} if node else {"clusterId": tier.cache_name}
    return cloudwatch.Metric(
        namespace="AWS/ElastiCache",
        metric_name=name,
        dimensions_map=dimensions,
        statistic=statistic,
        label=label or name,
        period=MINUTE,
    )


def redis_highest(tier: RedisTier, name: str) -> list[cloudwatch.IMetric]:
    """Return the maximum of a metric: over the cache, or one over each ten nodes, in the order of their names."""
    if tier.kind is RedisKind.SERVERLESS:
        return [redis_metric(tier, name, cloudwatch.Stats.MAXIMUM)]
    numbered = list(enumerate(tier.node_names))
    groups = [numbered[first : first + METRICS_PER_ALARM] for first in range(0, len(numbered), METRICS_PER_ALARM)]
    return [_highest_of(tier, name, group, whole=len(groups) == 1) for group in groups]


def _highest_of(
    tier: RedisTier, name: str, numbered: Sequence[tuple[int, str]], *, whole: bool
) -> cloudwatch.MathExpression:
    nodes = {
        f"{name[0].lower()}{name[1:]}{number}": redis_metric(tier, name, cloudwatch.Stats.MAXIMUM, node=node)
        for number, node in numbered
    }
    # A node that says nothing, as a primary does of replication, must not silence the others.
    filled = ",".join(f"FILL({node},0)" for node in nodes)
    first, last = (node.removeprefix(f"{tier.cache_name}-") for node in (numbered[0][1], numbered[-1][1]))
    return cloudwatch.MathExpression(
        expression=f"MAX([{filled}])",
        using_metrics=dict(nodes),
        label=name if whole else f"{name} {first} to {last}",
        period=MINUTE,
    )


def redis_cpu(tier: RedisTier) -> tuple[str, int]:
    """Return which metric tells that a node is busy, and through how many its limit is to be divided.

    On one or two processors, the system's own work takes a share that EngineCPUUtilization does not count; the engine,
    which fills one of them, then shows as half of CPUUtilization. AWS says so for nodes of two processors or fewer.
    """
    cores = cores_of(tier.node_type)
    return ("EngineCPUUtilization", 1) if cores is None else ("CPUUtilization", cores)


def redis_read_latency(tier: RedisTier, *, minimum_calls: int) -> cloudwatch.MathExpression:
    """Return the average of reads in microseconds; 0 below `minimum_calls` reads a minute."""
    name = "SuccessfulReadRequestLatency"
    return cloudwatch.MathExpression(
        expression=f"IF(FILL(reads,0)>={minimum_calls},FILL(latency,0),0)",
        using_metrics={
            "reads": redis_metric(tier, name, cloudwatch.Stats.SAMPLE_COUNT),
            "latency": redis_metric(tier, name, cloudwatch.Stats.AVERAGE),
        },
        label=name,
        period=MINUTE,
    )


def table_metric(
    table: dynamodb.ITable, name: str, statistic: str = cloudwatch.Stats.SUM, *, label: str = ""
) -> cloudwatch.Metric:
    """Return a DynamoDB metric of the table."""
    return cloudwatch.Metric(
        namespace="AWS/DynamoDB",
        metric_name=name,
        dimensions_map={"TableName": table.table_name},
        statistic=statistic,
        label=label or name,
        period=FIVE_MINUTES,
    )


def table_throttles(table: dynamodb.ITable) -> cloudwatch.MathExpression:
    """Return how many reads and writes the table refused."""
    return cloudwatch.MathExpression(
        expression="FILL(r,0)+FILL(w,0)",
        using_metrics={"r": table_metric(table, "ReadThrottleEvents"), "w": table_metric(table, "WriteThrottleEvents")},
        label="Throttled",
        period=FIVE_MINUTES,
    )


def function_error_ratio(function: lambda_.IFunction, *, minimum_calls: int, label: str) -> cloudwatch.MathExpression:
    """Return failed invocations per 100; no value below `minimum_calls` invocations."""
    return cloudwatch.MathExpression(
        expression=f"IF(FILL(i,0)>={minimum_calls},100*FILL(e,0)/FILL(i,0))",
        using_metrics={
            "i": function.metric_invocations(period=FIVE_MINUTES),
            "e": function.metric_errors(period=FIVE_MINUTES),
        },
        label=label,
        period=FIVE_MINUTES,
    )


def function_duration(function: lambda_.IFunction, *, minimum_calls: int, label: str) -> cloudwatch.MathExpression:
    """Return the 99th percentile in milliseconds; 0 below `minimum_calls` invocations."""
    return cloudwatch.MathExpression(
        expression=f"IF(FILL(i,0)>={minimum_calls},FILL(d,0),0)",
        using_metrics={
            "i": function.metric_invocations(period=FIVE_MINUTES),
            "d": function.metric_duration(period=FIVE_MINUTES, statistic=cloudwatch.Stats.p(99)),
        },
        label=label,
        period=FIVE_MINUTES,
    )


def api_error_ratio(
    api: apigateway.HttpApi, errors: cloudwatch.Metric, *, minimum_calls: int, label: str
) -> cloudwatch.MathExpression:
    """Return such answers per 100 requests; no value below `minimum_calls` requests."""
    return cloudwatch.MathExpression(
        expression=f"IF(FILL(n,0)>={minimum_calls},100*FILL(e,0)/FILL(n,0))",
        using_metrics={"n": api.metric_count(period=FIVE_MINUTES, statistic=cloudwatch.Stats.SUM), "e": errors},
        label=label,
        period=FIVE_MINUTES,
    )


def undelivered(rule: events.Rule, bus_name: str = "", *, label: str = "") -> cloudwatch.MathExpression:
    """Return how many events EventBridge gave up for good, or could not even put into the dead letters.

    The rules of a bus other than the default one are told apart by their bus, too.
    """
    dimensions = {"RuleName": rule.rule_name} | ({"EventBusName": bus_name} if bus_name else {})

    def metric(name: str) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/Events",
            metric_name=name,
            dimensions_map=dimensions,
            statistic=cloudwatch.Stats.SUM,
            period=FIVE_MINUTES,
        )

    return cloudwatch.MathExpression(
        expression="FILL(failed,0)+FILL(lost,0)",
        using_metrics={"failed": metric("FailedInvocations"), "lost": metric("InvocationsFailedToBeSentToDlq")},
        label=label or "Undelivered",
        period=FIVE_MINUTES,
    )
