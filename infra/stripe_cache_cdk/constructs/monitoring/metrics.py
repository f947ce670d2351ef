"""What the runtime tells about itself, as CloudWatch metrics, and the arithmetic over them.

The runtime emits every metric under `service` and `stage`. What concerns one tier is emitted under `service, stage,
tier` instead, what concerns one object type under `service, stage, object_type` as well, and never under both at once:
each combination that exists is billed. `Hit` is emitted under all three; a `Miss` without a tier is a read that no tier
answered.

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
TIERS = ("memory", "redis", "dynamodb")

HIT = "Hit"
MISS = "Miss"
STALE_SERVED = "StaleServed"
BYPASS = "Bypass"
ORIGIN_CALL = "OriginCall"
ORIGIN_ERROR = "OriginError"
ORIGIN_RATE_LIMITED = "OriginRateLimited"
ORIGIN_LATENCY = "OriginLatency"
READ_LATENCY = "ReadLatency"
FILL_REFUSED = "FillRefused"
TIER_ERROR = "TierError"
TIER_OPEN = "TierOpen"
CORRUPT_ENTRY = "CorruptEntry"
INVALIDATION = "Invalidation"
INVALIDATION_FAILED = "InvalidationFailed"
INVALIDATION_QUEUED = "InvalidationQueued"
WEBHOOK_ACCEPTED = "WebhookAccepted"
WEBHOOK_REJECTED = "WebhookRejected"
WEBHOOK_LAG = "WebhookLag"

# The dimension sets, beside service and stage, under which widgets and alarms look for each metric.
OVERALL: frozenset[str] = frozenset()
BY_TIER = frozenset({"tier"})
BY_TYPE = frozenset({"object_type"})
DIMENSIONS: dict[str, frozenset[frozenset[str]]] = {
    **dict.fromkeys((HIT, MISS), frozenset({OVERALL, BY_TIER, BY_TYPE})),
    **dict.fromkeys((TIER_ERROR, TIER_OPEN, CORRUPT_ENTRY, FILL_REFUSED), frozenset({BY_TIER})),
    **dict.fromkeys(
        (
            *(STALE_SERVED, BYPASS, ORIGIN_CALL, ORIGIN_ERROR, ORIGIN_RATE_LIMITED, ORIGIN_LATENCY, READ_LATENCY),
            *(INVALIDATION, INVALIDATION_FAILED, INVALIDATION_QUEUED),
            *(WEBHOOK_ACCEPTED, WEBHOOK_REJECTED, WEBHOOK_LAG),
        ),
        frozenset({OVERALL}),
    ),
}


@dataclass(frozen=True, kw_only=True)
class CacheMetrics:
    """The runtime's metrics of one stage, summed over `period`."""

    stage: str
    service: str = SERVICE
    period: cdk.Duration = FIVE_MINUTES

    def count(self, name: str, *, tier: str = "", object_type: str = "", label: str = "") -> cloudwatch.Metric:
        """Return the sum of a counter."""
        return self._metric(name, cloudwatch.Stats.SUM, tier, object_type, label)

    def percentile(self, name: str, percent: float, *, label: str = "") -> cloudwatch.Metric:
        """Return a percentile of a duration in milliseconds."""
        return self._metric(name, cloudwatch.Stats.percentile(percent), "", "", label)

    def hit_ratio(
        self, *, tier: str = "", object_type: str = "", label: str, minimum_reads: int = 1
    ) -> cloudwatch.MathExpression:
        """Return hits per 100 reads, for all reads or those of a tier or type; no value below `minimum_reads`."""
        # Ids are shared by all expressions of one graph.
        suffix = "".join(character if character.isalnum() else "_" for character in tier + object_type)
        hits, misses = f"hits_{suffix}", f"misses_{suffix}"
        reads = f"(FILL({hits},0)+FILL({misses},0))"
        return cloudwatch.MathExpression(
            expression=f"IF({reads}>={minimum_reads},100*FILL({hits},0)/{reads})",
            using_metrics={
                hits: self.count(HIT, tier=tier, object_type=object_type),
                misses: self.count(MISS, tier=tier, object_type=object_type),
            },
            label=label,
            period=self.period,
        )

    def calls_saved(self) -> cloudwatch.MathExpression:
        """Return how many calls Stripe was spared: every read that a tier answered, fresh or stale."""
        return cloudwatch.MathExpression(
            expression="FILL(hits_,0)+FILL(stale,0)",
            using_metrics={"hits_": self.count(HIT), "stale": self.count(STALE_SERVED)},
            label="Calls saved",
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

    def _metric(self, name: str, statistic: str, tier: str, object_type: str, label: str) -> cloudwatch.Metric:
        dimensions = {"service": self.service, "stage": self.stage}
        extra = {key: value for key, value in (("tier", tier), ("object_type", object_type)) if value}
        if frozenset(extra) not in DIMENSIONS[name]:
            raise KeyError(f"{name} is not emitted by {sorted(extra)}")
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map=dimensions | extra,
            statistic=statistic,
            label=label or " ".join([name, *extra.values()]),
            period=self.period,
        )
