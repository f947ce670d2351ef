"""What rings, and how long it must be wrong before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions

from stripe_cache_cdk.config import RedisKind
from stripe_cache_cdk.constructs.monitoring import metrics as names
from stripe_cache_cdk.constructs.monitoring import service_metrics as aws

if TYPE_CHECKING:
    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_sns as sns
    from aws_cdk import aws_sqs as sqs
    from constructs import Construct

    from stripe_cache_cdk.constructs.monitoring.metrics import CacheMetrics
    from stripe_cache_cdk.constructs.monitoring.thresholds import Thresholds
    from stripe_cache_cdk.constructs.redis_tier import RedisTier

ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
BYTES_PER_GB = 1024**3
Watched = tuple[str, cloudwatch.IMetric, float, str]


class Alarms:
    """Makes alarms under one construct, all to one topic; missing data is never an alarm."""

    def __init__(self, scope: Construct, topic: sns.ITopic, thresholds: Thresholds) -> None:
        self._scope = scope
        self._action = actions.SnsAction(topic)
        self._at = thresholds
        self.made: list[cloudwatch.Alarm] = []

    def watch_cache(self, cache: CacheMetrics, *, events: bool) -> None:
        """Ring for the cache's own promises: hit ratio, calls to Stripe, invalidations."""
        at = self._at
        ratio = cache.hit_ratio(label="Hit ratio %", minimum_reads=at.minimum_reads)
        self._ring("HitRatio", ratio, at.hit_ratio_percent, "Fewer reads than usual are answered by a tier", below=True)
        self._ring_all(
            (
                "StripeErrors",
                cache.error_ratio(minimum_calls=at.minimum_calls),
                at.origin_error_percent,
                "Calls to Stripe fail",
            ),
            ("StripeRateLimited", cache.count(names.ORIGIN_RATE_LIMITED), at.origin_rate_limited, "Stripe answers 429"),
            (
                "InvalidationsFailed",
                cache.count(names.INVALIDATION_FAILED),
                at.invalidations_failed,
                "A tier could not be told of a change and may serve the old answer",
            ),
        )
        if events:
            self._ring_all(
                (
                    "WebhookLag",
                    cache.percentile(names.WEBHOOK_LAG, 99),
                    at.webhook_lag_p99_ms,
                    "Changes at Stripe arrive late",
                ),
                (
                    "WebhooksRejected",
                    cache.count(names.WEBHOOK_REJECTED),
                    at.webhooks_rejected,
                    "Events fail verification: the signing secret is wrong, or someone forges",
                ),
            )

    def watch_redis(self, tier: RedisTier) -> None:
        """Ring when the cache is full, throttled or slow, before callers notice."""
        at = self._at
        if tier.kind is RedisKind.SERVERLESS:
            full = tier.usage_caps.storage_gb * BYTES_PER_GB * at.redis_storage_percent / 100
            average = cloudwatch.Stats.AVERAGE
            self._ring_all(
                ("RedisStorage", aws.redis_highest(tier, "BytesUsedForCache"), full, "Near its cap: it evicts soon"),
                (
                    "RedisLatency",
                    aws.redis_metric(tier, "SuccessfulReadRequestLatency", average),
                    at.redis_read_latency_us,
                    "Reads are slow, in microseconds",
                ),
            )
            throttled = aws.redis_metric(tier, "ThrottledCmds", cloudwatch.Stats.SUM)
            self._ring("RedisThrottled", throttled, 0, "At its ECPU cap: raise usage_caps", of=3, needed=2)
            return
        self._ring_all(
            (
                "RedisMemory",
                aws.redis_highest(tier, "DatabaseMemoryUsagePercentage"),
                at.redis_storage_percent,
                "A node is nearly full",
            ),
            ("RedisCpu", aws.redis_highest(tier, "EngineCPUUtilization"), at.redis_cpu_percent, "A node is busy"),
            ("RedisEvictions", aws.redis_highest(tier, "Evictions"), at.redis_evictions, "Entries are pushed out"),
            (
                "RedisConnections",
                aws.redis_highest(tier, "NewConnections"),
                at.redis_new_connections,
                "Functions reconnect all the time",
            ),
        )

    def watch_table(self, table: dynamodb.ITable) -> None:
        """Ring when DynamoDB refuses reads or writes."""
        self._ring("TableThrottled", aws.table_throttles(table), 0, "A record is hotter than a partition serves")

    def watch_function(self, name: str, function: lambda_.Function) -> None:
        """Ring when the function fails, is refused, or nearly times out."""
        at = self._at
        timeout_ms = (function.timeout or cdk.Duration.seconds(3)).to_milliseconds()
        minutes = aws.FIVE_MINUTES
        self._ring_all(
            (
                f"{name}Errors",
                aws.function_error_ratio(function, minimum_calls=at.minimum_calls, label=f"{name} errors %"),
                at.function_error_percent,
                "Invocations fail",
            ),
            (
                f"{name}Throttles",
                function.metric_throttles(period=minutes),
                0,
                "Invocations are refused: raise the reserved concurrency",
            ),
            (
                f"{name}Duration",
                function.metric_duration(period=minutes, statistic=cloudwatch.Stats.p(99)),
                timeout_ms * at.function_duration_percent / 100,
                "The slowest invocations are about to time out",
            ),
        )

    def watch_queue(self, name: str, queue: sqs.IQueue) -> None:
        """Ring when messages wait."""
        age = queue.metric_approximate_age_of_oldest_message(period=aws.MINUTE, statistic=cloudwatch.Stats.MAXIMUM)
        self._ring(f"{name}Age", age, self._at.queue_age_seconds, "Invalidations wait, and old answers are served")

    def watch_dead_letters(self, name: str, queue: sqs.IQueue) -> None:
        """Ring at once when a message was given up."""
        visible = queue.metric_approximate_number_of_messages_visible(
            period=aws.MINUTE, statistic=cloudwatch.Stats.MAXIMUM
        )
        self._ring(f"{name}Messages", visible, self._at.dead_letters, "Given up: look, then redrive", of=1, needed=1)

    def _ring_all(self, *watched: Watched) -> None:
        for name, metric, threshold, meaning in watched:
            self._ring(name, metric, threshold, meaning)

    def _ring(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        meaning: str,
        *,
        below: bool = False,
        of: int = 5,
        needed: int = 3,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self._scope,
            name,
            metric=metric,
            threshold=threshold,
            alarm_description=f"stripe-cache: {meaning}.",
            comparison_operator=BELOW if below else ABOVE,
            evaluation_periods=of,
            datapoints_to_alarm=needed,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(self._action)
        alarm.add_ok_action(self._action)
        self.made.append(alarm)
