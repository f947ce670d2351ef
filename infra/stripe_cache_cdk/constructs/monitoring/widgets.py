"""What the dashboard shows, row by row: first what the cache is for, then the health of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_cloudwatch as cloudwatch

from stripe_cache_cdk.config import RedisKind
from stripe_cache_cdk.constructs.monitoring import metrics as names
from stripe_cache_cdk.constructs.monitoring import service_metrics as aws

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_cdk import aws_apigatewayv2 as apigateway
    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_events as events
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
            *_hit_ratios(cache, object_types, tiers),
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
            graph("Stored", [cache.count(name) for name in (names.FILL, names.FILL_SKIPPED)]),
            graph(
                "Audits and keys",
                [cache.count(n) for n in (names.AUDIT_CHECKED, names.AUDIT_STALE, names.KEY_UNAVAILABLE)],
            ),
            graph(
                "Sweeps for lost events",
                [
                    cache.count(n)
                    for n in (
                        names.RECONCILE_SWEPT,
                        names.RECONCILE_PAGES,
                        names.RECONCILE_APPLIED,
                        names.RECONCILE_RESTARTED,
                    )
                ],
                right=[cache.highest(names.RECONCILE_LAG)],
            ),
        ],
        [
            graph(
                "Our own limits",
                [cache.count(name) for name in (names.ORIGIN_REFUSED, names.ORIGIN_OPEN)],
                right=[cache.highest(names.ORIGIN_WAIT, label="Longest wait (ms)")],
            ),
            graph("Refreshes", [cache.count(name) for name in (names.REFRESH_QUEUED, names.REFRESH_SKIPPED)]),
            cloudwatch.SingleValueWidget(
                title="Reads of Stripe in 30 days, for its read allocation",
                width=WHOLE // 3,
                height=6,
                metrics=[cache.count(names.ORIGIN_READS, label="Reads")],
                # A period of its own would be replaced by the dashboard's, which follows the time range shown.
                start="-P30D",
                set_period_to_time_range=True,
            ),
        ],
        [
            graph("Read latency", _percentiles(cache, names.READ_LATENCY), axis=MILLISECONDS),
            graph("Stripe latency", _percentiles(cache, names.ORIGIN_LATENCY), axis=MILLISECONDS),
            graph("Webhook lag", _percentiles(cache, names.WEBHOOK_LAG), axis=MILLISECONDS),
        ],
        [
            graph(
                "Webhooks",
                [cache.count(name) for name in (names.WEBHOOK_ACCEPTED, names.WEBHOOK_REJECTED, names.EVENT_REPEATED)],
            ),
            graph(
                "Invalidations",
                [
                    cache.count(name)
                    for name in (names.INVALIDATION, names.INVALIDATION_QUEUED, names.INVALIDATION_FAILED)
                ],
                right=[cache.count(name) for name in (names.OUTBOX_REPLAYED, names.OUTBOX_LEFT)],
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
            graph("Valkey: storage", aws.redis_highest(tier, "BytesUsedForCache")),
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
            _highest(tier, aws.redis_cpu(tier)[0], "DatabaseMemoryUsagePercentage"),
            axis=PERCENT,
        ),
        graph(
            "Valkey: evictions and replication lag (s)",
            _highest(tier, "Evictions"),
            right=_highest(tier, "ReplicationLag"),
        ),
        graph("Valkey: connections", _highest(tier, "CurrConnections", "NewConnections")),
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


class LiveRows:
    """The last rows of a dashboard, whose graphs get a line more whenever something more is watched.

    A graph appears with its first line: CloudWatch refuses a board with an empty one.
    """

    def __init__(self, board: cloudwatch.Dashboard) -> None:
        self._board = board
        self._graphs: dict[str, cloudwatch.GraphWidget] = {}

    def function(self, name: str, function: lambda_.Function) -> None:
        """Show how often the function runs, fails, is refused, and for how long and how many at once."""
        period = aws.FIVE_MINUTES
        self._add("Functions: invocations", function.metric_invocations(label=name, period=period))
        self._add("Functions: errors and throttles", function.metric_errors(label=f"{name} errors", period=period))
        self._add(
            "Functions: errors and throttles", function.metric_throttles(label=f"{name} throttles", period=period)
        )
        self._add(
            "Functions: p99 duration (ms)",
            function.metric_duration(label=name, statistic=cloudwatch.Stats.p(99), period=period),
        )
        self._add(
            "Functions: running at once",
            function.metric("ConcurrentExecutions", label=name, statistic=cloudwatch.Stats.MAXIMUM, period=period),
        )

    def api(self, name: str, api: apigateway.HttpApi) -> None:
        """Show what the API answers."""
        period, total = aws.FIVE_MINUTES, cloudwatch.Stats.SUM
        self._add("APIs: requests", api.metric_count(label=name, period=period, statistic=total))
        self._add("APIs: errors", api.metric_client_error(label=f"{name} 4xx", period=period, statistic=total))
        self._add("APIs: errors", api.metric_server_error(label=f"{name} 5xx", period=period, statistic=total))

    def rule(self, name: str, rule: events.Rule, bus_name: str = "") -> None:
        """Show what EventBridge could not deliver."""
        # Ids are shared by all expressions of one graph.
        self._add(f"EventBridge: undelivered of {name}", aws.undelivered(rule, bus_name, label=name))

    def queue(self, name: str, queue: sqs.IQueue) -> None:
        """Show how long messages wait."""
        highest = cloudwatch.Stats.MAXIMUM
        self._add(
            "Queues: oldest message (s)", queue.metric_approximate_age_of_oldest_message(label=name, statistic=highest)
        )

    def dead_letters(self, name: str, queue: sqs.IQueue) -> None:
        """Show how many messages were given up."""
        highest = cloudwatch.Stats.MAXIMUM
        self._add("Dead letters", queue.metric_approximate_number_of_messages_visible(label=name, statistic=highest))

    def _add(self, title: str, metric: cloudwatch.IMetric) -> None:
        if title in self._graphs:
            self._graphs[title].add_left_metric(metric)
            return
        self._graphs[title] = graph(title, [metric])
        self._board.add_widgets(self._graphs[title])


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


def _hit_ratios(cache: CacheMetrics, object_types: Sequence[str], tiers: Sequence[str]) -> Row:
    titled = {
        "Hit ratio by tier": [cache.hit_ratio(tier=tier, label=tier) for tier in tiers],
        "Hit ratio by object type": [cache.hit_ratio(object_type=name, label=name) for name in object_types],
    }
    # CloudWatch refuses a board with an empty graph.
    drawn = {title: lines for title, lines in titled.items() if lines}
    return [graph(title, lines, axis=PERCENT, width=18 // len(drawn)) for title, lines in drawn.items()]


def _highest(tier: RedisTier, *metrics: str) -> list[cloudwatch.IMetric]:
    return [line for name in metrics for line in aws.redis_highest(tier, name)]


def _percentiles(cache: CacheMetrics, name: str) -> list[cloudwatch.IMetric]:
    return [cache.percentile(name, percent, label=f"p{percent}") for percent in PERCENTILES]
