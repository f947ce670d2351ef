"""Which alarms there are: one method for each kind of thing that has some.

How an alarm is evaluated is in `alarm_maker`, at which limit it rings in `thresholds`, and whose alarms are made in
`watch_list`.

What breaks a promise of the cache (a change that was not applied, an event that was not taken, a stale answer found,
a message given up) rings at the first one, since a quiet account may have ten a day. What is a matter of degree (a
ratio, a duration) rings when it lasts and enough was asked to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_

from stripe_cache_cdk.config import RedisKind
from stripe_cache_cdk.constructs.monitoring import metrics as names
from stripe_cache_cdk.constructs.monitoring import service_metrics as aws
from stripe_cache_cdk.constructs.runtime_function import RuntimeFunction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_cdk import aws_apigatewayv2 as apigateway
    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_events as events
    from aws_cdk import aws_sqs as sqs
    from constructs import Construct

    from stripe_cache_cdk.constructs.monitoring.alarm_maker import AlarmMaker
    from stripe_cache_cdk.constructs.monitoring.metrics import CacheMetrics
    from stripe_cache_cdk.constructs.redis_tier import RedisTier
    from stripe_cache_cdk.thresholds import Thresholds

BYTES_PER_GB = 1024**3
MISSED_SWEEPS = 3
FUTILE_REPLAYS = 3
"""Two may fail in an ordinary outage: the tier went away before the one and came back after the other."""


class CacheAlarms:
    """Makes the alarms of one cache and of what belongs to it."""

    def __init__(self, maker: AlarmMaker, thresholds: Thresholds) -> None:
        self._ring = maker
        self._at = thresholds

    def cache(self, scope: Construct, cache: CacheMetrics, tiers: Sequence[str], *, events: bool) -> None:
        """Ring for the cache's own promises: hit ratio, calls to Stripe, invalidations, and the state of the tiers."""
        at, ring = self._at, self._ring
        ratio = cache.hit_ratio(label="Hit ratio %", minimum_reads=at.minimum_reads)
        ring.lasting_below(
            scope, "HitRatio", ratio, "Fewer reads than usual are answered by a tier", below=at.hit_ratio_percent
        )
        errors = cache.error_ratio(minimum_calls=at.minimum_calls)
        ring.lasting(scope, "StripeErrors", errors, "Calls to Stripe fail", above=at.origin_error_percent)
        for name, metric, meaning, most in (
            ("StripeRefused", names.ORIGIN_REFUSED, "Our own rate limits turn calls away", at.origin_refused),
            ("StripeOpen", names.ORIGIN_OPEN, "Stripe fails so often that it is left alone", at.origin_opens),
        ):
            ring.lasting(scope, name, cache.count(metric), meaning, above=most)
        limited = cache.count(names.ORIGIN_RATE_LIMITED)
        ring.lasting(scope, "StripeRateLimited", limited, "Stripe answers 429", above=at.origin_rate_limited)
        for name, metric, meaning, limit in (
            (
                "InvalidationsFailed",
                names.INVALIDATION_FAILED,
                "A tier could not be told of a change and may serve the old answer",
                at.invalidations_failed,
            ),
            ("AuditStale", names.AUDIT_STALE, "An audit found a stale answer in the cache", at.stale_audits),
            (
                "KeyUnavailable",
                names.KEY_UNAVAILABLE,
                "KMS gives no data key: nothing is stored, and nothing sealed is read",
                at.keys_unavailable,
            ),
        ):
            ring.first(scope, name, cache.count(metric), meaning, above=limit)
        for tier in tiers:
            title = tier.capitalize()
            failing = cache.tier_error_ratio(tier, minimum_looks=at.minimum_looks)
            ring.lasting(scope, f"{title}TierErrors", failing, f"Steps of {tier} fail", above=at.tier_error_percent)
            opened = cache.count(names.TIER_OPEN, tier=tier)
            ring.lasting(scope, f"{title}TierOpen", opened, f"{tier} is being left alone", above=at.tier_opens)
        if events:
            lag = cache.webhook_lag(minimum_webhooks=at.minimum_webhooks)
            ring.lasting(scope, "WebhookLag", lag, "Changes at Stripe arrive late", above=at.webhook_lag_p99_ms)
            ring.first(
                scope,
                "WebhooksRejected",
                cache.count(names.WEBHOOK_REJECTED),
                "An event failed verification: the signing secret is wrong, or someone forges",
                above=at.webhooks_rejected,
            )

    def sweep(self, scope: Construct, name: str, cache: CacheMetrics, every: cdk.Duration) -> None:
        """Ring when no sweep was completed for three intervals, sweeps stay behind, or three in a row told nobody."""
        swept = cache.count(names.RECONCILE_SWEPT, period=whole_minutes(every))
        meaning = "No sweep for lost events was completed for three intervals"
        self._ring.absent(scope, f"{name}DidNotRun", swept, meaning, periods=MISSED_SWEEPS)
        lag = cache.highest(names.RECONCILE_LAG, period=whole_minutes(every))
        self._ring.first(scope, f"{name}Lag", lag, "The sweep is behind the events", above=self._at.sweep_lag_ms)
        left = cache.count(names.OUTBOX_LEFT, period=whole_minutes(every))
        meaning = "A tier was not told of changes for three sweeps, and may serve old answers"
        self._ring.staying(
            scope, f"{name}OutboxLeft", left, meaning, above=self._at.outbox_left, periods=FUTILE_REPLAYS
        )

    def redis(self, scope: Construct, tier: RedisTier) -> None:
        """Ring when the cache is full, throttled or slow, before callers notice."""
        at, ring = self._at, self._ring
        if tier.kind is RedisKind.SERVERLESS:
            full = tier.usage_caps.storage_gb * BYTES_PER_GB * at.redis_storage_percent / 100
            (stored,) = aws.redis_highest(tier, "BytesUsedForCache")
            ring.lasting(scope, "RedisStorage", stored, "Near its cap: it evicts soon", above=full)
            latency = aws.redis_read_latency(tier, minimum_calls=at.minimum_calls)
            ring.lasting(
                scope, "RedisLatency", latency, "Reads are slow, in microseconds", above=at.redis_read_latency_us
            )
            throttled = aws.redis_metric(tier, "ThrottledCmds", cloudwatch.Stats.SUM)
            ring.lasting(scope, "RedisThrottled", throttled, "At its ECPU cap: raise usage_caps", above=0)
            return
        cpu, cores = aws.redis_cpu(tier)
        for name, metric, meaning, limit in (
            ("RedisMemory", "DatabaseMemoryUsagePercentage", "A node is nearly full", at.redis_storage_percent),
            ("RedisCpu", cpu, "A node is busy", at.redis_cpu_percent / cores),
            ("RedisEvictions", "Evictions", "Entries are pushed out", at.redis_evictions),
            ("RedisConnections", "NewConnections", "Functions reconnect all the time", at.redis_new_connections),
            (
                "RedisReplication",
                "ReplicationLag",
                "A replica is behind: a failover would lose that much",
                at.redis_replication_lag_seconds,
            ),
        ):
            for number, highest in enumerate(aws.redis_highest(tier, metric), start=1):
                ring.lasting(scope, name if number == 1 else f"{name}{number}", highest, meaning, above=limit)

    def table(self, scope: Construct, table: dynamodb.ITable) -> None:
        """Ring when DynamoDB refuses reads or writes."""
        throttled = aws.table_throttles(table)
        self._ring.lasting(scope, "TableThrottled", throttled, "A record is hotter than a partition serves", above=0)

    def function(self, scope: Construct, name: str, function: lambda_.Function) -> None:
        """Ring when the function fails, is refused, or nearly times out; a vital one at its first error."""
        at, ring, period = self._at, self._ring, aws.FIVE_MINUTES
        limit = (function.timeout or cdk.Duration.seconds(3)).to_milliseconds() * at.function_duration_percent / 100
        slow = "The slowest invocations are about to time out"
        if isinstance(function, RuntimeFunction) and function.vital:
            errors = function.metric_errors(period=period)
            ring.first(scope, f"{name}Errors", errors, "An invocation failed", above=at.function_errors)
            duration = aws.function_duration(function, minimum_calls=1, label=name)
            ring.first(scope, f"{name}Duration", duration, slow, above=limit)
        else:
            ratio = aws.function_error_ratio(function, minimum_calls=at.minimum_calls, label=f"{name} errors %")
            ring.lasting(scope, f"{name}Errors", ratio, "Invocations fail", above=at.function_error_percent)
            duration = aws.function_duration(function, minimum_calls=at.minimum_calls, label=name)
            ring.lasting(scope, f"{name}Duration", duration, slow, above=limit)
        refused = function.metric_throttles(period=period)
        meaning = "Invocations are refused: raise the concurrency"
        ring.first(scope, f"{name}Throttles", refused, meaning, above=at.function_throttles)
        resource = function.node.default_child
        reserved = resource.reserved_concurrent_executions if isinstance(resource, lambda_.CfnFunction) else None
        if reserved and not cdk.Token.is_unresolved(reserved):
            running = function.metric(
                "ConcurrentExecutions", period=aws.MINUTE, statistic=cloudwatch.Stats.MAXIMUM, label=name
            )
            most = reserved * at.function_concurrency_percent / 100
            ring.lasting(scope, f"{name}Concurrency", running, "Near its reserved concurrency", above=most)

    def api(self, scope: Construct, name: str, api: apigateway.HttpApi, *, vital: bool) -> None:
        """Ring when the API answers with errors: of a vital one at the first of its own."""
        at, period = self._at, aws.FIVE_MINUTES
        failed = api.metric_server_error(period=period, statistic=cloudwatch.Stats.SUM)
        if vital:
            meaning = "An event of Stripe's was answered 5xx: it comes again, and nothing says it will be taken then"
            self._ring.first(scope, f"{name}5xx", failed, meaning, above=at.api_server_errors)
        else:
            ratio = aws.api_error_ratio(api, failed, minimum_calls=at.minimum_calls, label="5xx %")
            self._ring.lasting(scope, f"{name}5xx", ratio, "Requests fail", above=at.function_error_percent)
        refused = api.metric_client_error(period=period, statistic=cloudwatch.Stats.SUM)
        ratio = aws.api_error_ratio(api, refused, minimum_calls=at.minimum_calls, label="4xx %")
        meaning = "Requests are refused: throttled, unsigned or unknown"
        self._ring.lasting(scope, f"{name}4xx", ratio, meaning, above=at.api_client_error_percent)

    def rule(self, scope: Construct, name: str, rule: events.Rule, *, bus_name: str = "") -> None:
        """Ring when EventBridge could not hand over an event, not even to the dead letters."""
        lost = aws.undelivered(rule, bus_name)
        meaning = "EventBridge could not deliver: look at the target and its policy"
        self._ring.first(scope, f"{name}Undelivered", lost, meaning, above=self._at.undelivered_events)

    def queue(self, scope: Construct, name: str, queue: sqs.IQueue) -> None:
        """Ring when messages wait."""
        age = queue.metric_approximate_age_of_oldest_message(period=aws.MINUTE, statistic=cloudwatch.Stats.MAXIMUM)
        meaning = "Messages wait, and old answers are served"
        self._ring.lasting(scope, f"{name}Age", age, meaning, above=self._at.queue_age_seconds)

    def dead_letters(self, scope: Construct, name: str, queue: sqs.IQueue) -> None:
        """Ring at once when a message was given up."""
        visible = queue.metric_approximate_number_of_messages_visible(
            period=aws.MINUTE, statistic=cloudwatch.Stats.MAXIMUM
        )
        self._ring.first(scope, f"{name}Messages", visible, "Given up: look, then redrive", above=self._at.dead_letters)


def whole_minutes(duration: cdk.Duration) -> cdk.Duration:
    """Return the duration in whole minutes, rounded up: CloudWatch has no other periods."""
    return cdk.Duration.minutes(-(-int(duration.to_seconds()) // 60))
