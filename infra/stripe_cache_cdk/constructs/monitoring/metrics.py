"""What the runtime tells about itself, as CloudWatch metrics, and the arithmetic over them.

The runtime emits every metric under `service` and `stage`. What concerns one tier is emitted under `service, stage,
tier` instead, what concerns one object type under `service, stage, object_type` as well, and never under both at once:
each combination that exists is billed. `Hit`, `StaleServed`, `Miss` and `Bypass` without a tier are how reads ended,
each one once; with a tier, they are looks into that tier.

A metric without traffic has no values at all, and arithmetic over no value has none either: FILL turns those gaps into
zeros, and IF leaves out the periods in which there was nothing to divide by.
"""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

NAMESPACE = "StripeCache"
SERVICE = "stripe-cache"
FIVE_MINUTES = cdk.Duration.minutes(5)
SUM = cloudwatch.Stats.SUM
"""Asked for once: each look at a constant of CDK's is a message to its process, and a hundred metrics need it."""
TIERS = ("memory", "redis", "dynamodb")

HIT = "Hit"
MISS = "Miss"
STALE_SERVED = "StaleServed"
BYPASS = "Bypass"
ORIGIN_CALL = "OriginCall"
ORIGIN_ERROR = "OriginError"
ORIGIN_RATE_LIMITED = "OriginRateLimited"
ORIGIN_LATENCY = "OriginLatency"
ORIGIN_READS = "OriginReads"
ORIGIN_REFUSED = "OriginRefused"
ORIGIN_WAIT = "OriginWait"
ORIGIN_OPEN = "OriginOpen"
REFRESH_QUEUED = "RefreshQueued"
REFRESH_SKIPPED = "RefreshSkipped"
READ_LATENCY = "ReadLatency"
FILL = "Fill"
FILL_REFUSED = "FillRefused"
FILL_SKIPPED = "FillSkipped"
TIER_ERROR = "TierError"
TIER_OPEN = "TierOpen"
CORRUPT_ENTRY = "CorruptEntry"
KEY_UNAVAILABLE = "KeyUnavailable"
INVALIDATION = "Invalidation"
INVALIDATION_FAILED = "InvalidationFailed"
INVALIDATION_QUEUED = "InvalidationQueued"
OUTBOX_REPLAYED = "OutboxReplayed"
OUTBOX_LEFT = "OutboxLeft"
EVENT_REPEATED = "EventRepeated"
WEBHOOK_ACCEPTED = "WebhookAccepted"
WEBHOOK_REJECTED = "WebhookRejected"
WEBHOOK_LAG = "WebhookLag"
RECONCILE_SWEPT = "ReconcileSwept"
RECONCILE_PAGES = "ReconcilePages"
RECONCILE_APPLIED = "ReconcileApplied"
RECONCILE_LAG = "ReconcileLag"
RECONCILE_RESTARTED = "ReconcileRestarted"
AUDIT_CHECKED = "AuditChecked"
AUDIT_STALE = "AuditStale"

# The dimension sets, beside service and stage, under which widgets and alarms look for each metric.
OVERALL: frozenset[str] = frozenset()
BY_TIER = frozenset({"tier"})
BY_TYPE = frozenset({"object_type"})
DIMENSIONS: dict[str, frozenset[frozenset[str]]] = {
    **dict.fromkeys((HIT, MISS), frozenset({OVERALL, BY_TIER, BY_TYPE})),
    STALE_SERVED: frozenset({OVERALL, BY_TYPE}),
    **dict.fromkeys((TIER_ERROR, TIER_OPEN, CORRUPT_ENTRY, FILL_REFUSED), frozenset({BY_TIER})),
    **dict.fromkeys(
        (
            *(BYPASS, ORIGIN_CALL, ORIGIN_ERROR, ORIGIN_RATE_LIMITED, ORIGIN_LATENCY, READ_LATENCY),
            *(ORIGIN_READS, ORIGIN_REFUSED, ORIGIN_WAIT, ORIGIN_OPEN, REFRESH_QUEUED, REFRESH_SKIPPED),
            *(FILL, FILL_SKIPPED, KEY_UNAVAILABLE, AUDIT_CHECKED, AUDIT_STALE),
            *(INVALIDATION, INVALIDATION_FAILED, INVALIDATION_QUEUED),
            *(OUTBOX_REPLAYED, OUTBOX_LEFT, EVENT_REPEATED),
            *(WEBHOOK_ACCEPTED, WEBHOOK_REJECTED, WEBHOOK_LAG),
            *(RECONCILE_SWEPT, RECONCILE_PAGES, RECONCILE_APPLIED, RECONCILE_LAG, RECONCILE_RESTARTED),
        ),
        frozenset({OVERALL}),
    ),
}

NOT_SHOWN: dict[str, str] = {}
"""What the runtime emits and nothing here reads, each with the reason."""


@dataclass(frozen=True, kw_only=True)
class CacheMetrics:
    """The runtime's metrics of one stage, summed over `period`."""

    stage: str
    service: str = SERVICE
    period: cdk.Duration = FIVE_MINUTES

    def count(
        self, name: str, *, tier: str = "", object_type: str = "", label: str = "", period: cdk.Duration | None = None
    ) -> cloudwatch.Metric:
        """Return the sum of a counter."""
        return self._metric(name, SUM, {"tier": tier, "object_type": object_type}, label, period)

    def percentile(self, name: str, percent: float, *, label: str = "") -> cloudwatch.Metric:
        """Return a percentile of a duration in milliseconds."""
        return self._metric(name, cloudwatch.Stats.percentile(percent), {}, label)

    def highest(self, name: str, *, label: str = "", period: cdk.Duration | None = None) -> cloudwatch.Metric:
        """Return the longest of a duration in milliseconds."""
        return self._metric(name, cloudwatch.Stats.MAXIMUM, {}, label, period)

    def hit_ratio(
        self, *, tier: str = "", object_type: str = "", label: str, minimum_reads: int = 1
    ) -> cloudwatch.MathExpression:
        """Return fresh hits per 100 reads, of all that asked the tiers or of a type, or per 100 looks into a tier.

        No value below `minimum_reads`. A stale answer counts as a read, and not as a hit.
        """
        # Ids are shared by all expressions of one graph.
        suffix = "".join(character if character.isalnum() else "_" for character in tier + object_type)
        counted = {f"hits_{suffix}": HIT, f"misses_{suffix}": MISS}
        if not tier:
            counted[f"stale_{suffix}"] = STALE_SERVED
        reads = f"({'+'.join(f'FILL({name},0)' for name in counted)})"
        return cloudwatch.MathExpression(
            expression=f"IF({reads}>={minimum_reads},100*FILL(hits_{suffix},0)/{reads})",
            using_metrics={
                name: self.count(metric, tier=tier, object_type=object_type) for name, metric in counted.items()
            },
            label=label,
            period=self.period,
        )

    def calls_saved(self) -> cloudwatch.MathExpression:
        """Return how many reads Stripe was spared: all there were, less those that were sent.

        A miss that shared another one's call is one spared; a stale answer after a failed call is none.
        """
        ends = {"hits_": HIT, "stale_": STALE_SERVED, "misses_": MISS, "past_": BYPASS}
        return cloudwatch.MathExpression(
            expression=f"{'+'.join(f'FILL({name},0)' for name in ends)}-FILL(sent,0)",
            using_metrics={
                **{name: self.count(metric) for name, metric in ends.items()},
                "sent": self.count(ORIGIN_READS),
            },
            label="Calls saved",
            period=self.period,
        )

    def tier_error_ratio(self, tier: str, *, minimum_looks: int) -> cloudwatch.MathExpression:
        """Return failed steps of a tier per 100 looks into it; no value below `minimum_looks`."""
        looks = "(FILL(hits,0)+FILL(misses,0))"
        return cloudwatch.MathExpression(
            expression=f"IF({looks}>={minimum_looks},100*FILL(errors,0)/{looks})",
            using_metrics={
                "hits": self.count(HIT, tier=tier),
                "misses": self.count(MISS, tier=tier),
                "errors": self.count(TIER_ERROR, tier=tier),
            },
            label=f"{tier} errors %",
            period=self.period,
        )

    def webhook_lag(self, *, minimum_webhooks: int) -> cloudwatch.MathExpression:
        """Return the 99th percentile of the lag in milliseconds; 0 below `minimum_webhooks` accepted ones."""
        return cloudwatch.MathExpression(
            expression=f"IF(FILL(accepted,0)>={minimum_webhooks},FILL(lag,0),0)",
            using_metrics={"accepted": self.count(WEBHOOK_ACCEPTED), "lag": self.percentile(WEBHOOK_LAG, 99)},
            label="Webhook lag",
            period=self.period,
        )

    def error_ratio(self, *, minimum_calls: int) -> cloudwatch.MathExpression:
        """Return failed calls per 100 calls to Stripe; no value below `minimum_calls`."""
        return cloudwatch.MathExpression(
            expression=f"IF(FILL(calls,0)>={minimum_calls},100*FILL(errors,0)/FILL(calls,0))",
            using_metrics={"calls": self.count(ORIGIN_CALL), "errors": self.count(ORIGIN_ERROR)},
            label="Stripe errors %",
            period=self.period,
        )

    def _metric(
        self, name: str, statistic: str, told: dict[str, str], label: str, period: cdk.Duration | None = None
    ) -> cloudwatch.Metric:
        dimensions = {"service": self.service, "stage": self.stage}
        extra = {key: value for key, value in told.items() if value}
        if frozenset(extra) not in DIMENSIONS[name]:
            raise KeyError(f"{name} is not emitted by {sorted(extra)}")
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map=dimensions | extra,
            statistic=statistic,
            label=label or " ".join([name, *extra.values()]),
            period=period or self.period,
        )
