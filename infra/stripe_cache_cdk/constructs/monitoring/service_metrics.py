"""What AWS tells about the parts: ElastiCache, DynamoDB, Lambda and HTTP APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from stripe_cache_cdk.config import RedisKind

if TYPE_CHECKING:
    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_lambda as lambda_

    from stripe_cache_cdk.constructs.redis_tier import RedisTier

MINUTE = cdk.Duration.minutes(1)
FIVE_MINUTES = cdk.Duration.minutes(5)


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


def redis_highest(tier: RedisTier, name: str, *, label: str = "") -> cloudwatch.IMetric:
    """Return the maximum of a metric: over the cache, or over all nodes."""
    if tier.kind is RedisKind.SERVERLESS:
        return redis_metric(tier, name, cloudwatch.Stats.MAXIMUM, label=label)
    nodes = {
        f"{name[0].lower()}{name[1:]}{number}": redis_metric(tier, name, cloudwatch.Stats.MAXIMUM, node=node)
        for number, node in enumerate(tier.node_names)
    }
    return cloudwatch.MathExpression(
        expression=f"MAX([{','.join(nodes)}])", using_metrics=dict(nodes), label=label or name, period=MINUTE
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
