"""What the dashboard shows, row by row: first what the cache is for, then the health of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_cloudwatch as cloudwatch

from stripe_cache_cdk.config import RedisKind
from stripe_cache_cdk.constructs.monitoring import metrics as names
from stripe_cache_cdk.constructs.monitoring import service_metrics as aws

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_sqs as sqs

    from stripe_cache_cdk.constructs.monitoring.metrics import CacheMetrics
    from stripe_cache_cdk.constructs.redis_tier import RedisTier

Row = list[cloudwatch.IWidget]
WHOLE = 24
PERCENT = cloudwatch.YAxisProps(min=0, max=100, label="%", show_units=False)
COUNT = cloudwatch.YAxisProps(min=0, show_units=False)
MILLISECONDS = cloudwatch.YAxisProps(min=0, label="ms", show_units=False)
PERCENTILES = (50, 90, 99)


def cache_rows(cache: CacheMetrics, object_types: Sequence[str], tiers: Sequence[str]) -> list[Row]:
    """Return hit ratios, calls made and saved, latencies and invalidations."""
    return [
        [
            cloudwatch.SingleValueWidget(
                title="Now",
                width=6,
                height=6,
                metrics=[cache.hit_ratio(label="Hit ratio %"), cache.calls_saved(), cache.count(names.ORIGIN_CALL)],
            ),
            graph(
                "Hit ratio by tier", [cache.hit_ratio(tier=tier, label=tier) for tier in tiers], axis=PERCENT, width=9
            ),
            graph(
                "Hit ratio by object type",
                [cache.hit_ratio(object_type=name, label=name) for name in object_types],
                axis=PERCENT,
                width=9,
            ),
        ],
        [
            graph("Calls to Stripe", [cache.count(names.ORIGIN_CALL, label="Made"), cache.calls_saved()]),
            graph(
                "Refused and failed by Stripe",
                [cache.count(names.ORIGIN_RATE_LIMITED, label="429"), cache.count(names.ORIGIN_ERROR, label="Errors")],
            ),
            graph(
                "Stale, bypassed, missed",
                [cache.count(name) for name in (names.STALE_SERVED, names.BYPASS, names.MISS)],
            ),
        ],
        [
            graph("Read latency", _percentiles(cache, names.READ_LATENCY), axis=MILLISECONDS),
            graph("Stripe latency", _percentiles(cache, names.ORIGIN_LATENCY), axis=MILLISECONDS),
            graph("Webhook lag", _percentiles(cache, names.WEBHOOK_LAG), axis=MILLISECONDS),
        ],
        [
            graph("Webhooks", [cache.count(name) for name in (names.WEBHOOK_ACCEPTED, names.WEBHOOK_REJECTED)]),
            graph(
                "Invalidations",
                [
                    cache.count(name)
                    for name in (names.INVALIDATION, names.INVALIDATION_QUEUED, names.INVALIDATION_FAILED)
                ],
            ),
            graph(
                "Tier trouble",
                [
                    cache.count(name, tier=tier)
                    for tier in tiers
                    if tier != names.TIERS[0]
                    for name in (names.TIER_ERROR, names.TIER_OPEN, names.CORRUPT_ENTRY, names.FILL_REFUSED)
                ],
            ),
        ],
    ]


def redis_row(tier: RedisTier) -> Row:
    """Return the health of ElastiCache."""
    total, average = cloudwatch.Stats.SUM, cloudwatch.Stats.AVERAGE
    if tier.kind is RedisKind.SERVERLESS:
        return [
            graph("Valkey: storage", [aws.redis_highest(tier, "BytesUsedForCache")]),
            graph(
                "Valkey: work",
                [
                    aws.redis_metric(tier, name, total)
                    for name in ("ElastiCacheProcessingUnits", "ThrottledCmds", "Evictions")
                ],
            ),
            graph(
                "Valkey: latency (us) and connections",
                [
                    aws.redis_metric(tier, "SuccessfulReadRequestLatency", average),
                    aws.redis_metric(tier, "SuccessfulWriteRequestLatency", average),
                ],
                right=[aws.redis_metric(tier, name, average) for name in ("CurrConnections", "NewConnections")],
            ),
        ]
    return [
        graph(
            "Valkey: CPU and memory",
            [aws.redis_highest(tier, name) for name in ("EngineCPUUtilization", "DatabaseMemoryUsagePercentage")],
            axis=PERCENT,
        ),
        graph("Valkey: evictions", [aws.redis_highest(tier, "Evictions")]),
        graph("Valkey: connections", [aws.redis_highest(tier, name) for name in ("CurrConnections", "NewConnections")]),
    ]


def table_row(table: dynamodb.ITable) -> Row:
    """Return the health of the table."""
    return [
        graph(
            "DynamoDB: units",
            [aws.table_metric(table, name) for name in ("ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits")],
        ),
        graph("DynamoDB: throttled", [aws.table_throttles(table)]),
        graph(
            "DynamoDB: refused fills and expiry",
            [
                aws.table_metric(table, name)
                for name in ("ConditionalCheckFailedRequests", "TimeToLiveDeletedItemCount")
            ],
        ),
    ]


def function_row(functions: Mapping[str, lambda_.Function]) -> Row:
    """Return the health of the functions."""
    each = functions.items()
    period = aws.FIVE_MINUTES
    return [
        graph("Functions: invocations", [item.metric_invocations(label=name, period=period) for name, item in each]),
        graph(
            "Functions: errors and throttles",
            [item.metric_errors(label=f"{name} errors", period=period) for name, item in each],
            right=[item.metric_throttles(label=f"{name} throttles", period=period) for name, item in each],
        ),
        graph(
            "Functions: p99 duration",
            [item.metric_duration(label=name, statistic=cloudwatch.Stats.p(99), period=period) for name, item in each],
            axis=MILLISECONDS,
        ),
    ]


def queue_row(queues: Mapping[str, sqs.IQueue], dead_letters: Mapping[str, sqs.IQueue]) -> Row:
    """Return how long messages wait, and how many were given up."""
    highest = cloudwatch.Stats.MAXIMUM
    return [
        graph(
            "Queues: oldest message (s)",
            [
                queue.metric_approximate_age_of_oldest_message(label=name, statistic=highest)
                for name, queue in queues.items()
            ],
            width=12,
        ),
        graph(
            "Dead letters",
            [
                queue.metric_approximate_number_of_messages_visible(label=name, statistic=highest)
                for name, queue in dead_letters.items()
            ],
            width=12,
        ),
    ]


def graph(
    title: str,
    left: Sequence[cloudwatch.IMetric],
    *,
    right: Sequence[cloudwatch.IMetric] = (),
    axis: cloudwatch.YAxisProps = COUNT,
    width: int = WHOLE // 3,
) -> cloudwatch.GraphWidget:
    """Return a line graph from zero."""
    return cloudwatch.GraphWidget(
        title=title, left=list(left), right=list(right), left_y_axis=axis, width=width, height=6
    )


def _percentiles(cache: CacheMetrics, name: str) -> list[cloudwatch.IMetric]:
    return [cache.percentile(name, percent, label=f"p{percent}") for percent in PERCENTILES]
