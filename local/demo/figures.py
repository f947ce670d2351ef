"""From samples, metrics and counters to figures: pure functions of what was recorded."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from local.demo import views

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from local.demo.traffic import Sample

TIERS = ("memory", "redis", "dynamodb")
Metrics = Counter[tuple[str, str, str]]
"""Sums by (dimension, its value, metric name); the first two are empty for the totals."""


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least this share of all values does not exceed; None of no values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def metrics_from(documents: Iterable[Mapping[str, Any]], since: float) -> Metrics:
    """Add up the counts of embedded-metric documents written from `since` (wall clock) on."""
    sums: Metrics = Counter()
    for document in documents:
        if document["_aws"]["Timestamp"] < since * 1000:
            continue
        dimension = next((name for name in ("tier", "object_type") if name in document), "")
        value = document.get(dimension, "") if dimension else ""
        for directive in document["_aws"]["CloudWatchMetrics"]:
            for metric in directive["Metrics"]:
                if metric["Unit"] == "Count":
                    found = document[metric["Name"]]
                    sums[dimension, value, metric["Name"]] += sum(found) if isinstance(found, list) else found
    return sums


def cache_figures(metrics: Metrics) -> dict[str, Any]:
    """Return the hit ratio over object reads, and hits by tier and by object type."""
    types = sorted({value for dimension, value, _ in metrics if dimension == "object_type"})
    hits, reads = _hits_and_reads(metrics, "", "")
    return {
        "reads": reads,
        "hits": hits,
        "hit_ratio": ratio(hits, reads),
        "by_tier": {tier: int(metrics["tier", tier, "Hit"]) for tier in TIERS},
        "by_object_type": {name: _of_type(metrics, name) for name in types},
        "refused_fills": int(metrics["", "", "FillRefused"]),
        # Of a tier alone, so not among the totals.
        "tier_errors": {tier: int(metrics["tier", tier, "TierError"]) for tier in TIERS},
    }


def _of_type(metrics: Metrics, name: str) -> dict[str, Any]:
    hits, reads = _hits_and_reads(metrics, "object_type", name)
    return {"hits": hits, "reads": reads, "hit_ratio": ratio(hits, reads)}


def _hits_and_reads(metrics: Metrics, dimension: str, name: str) -> tuple[int, int]:
    # What was served stale is answered by a tier as well, but is not counted as a hit.
    hits, stale, misses = (int(metrics[dimension, name, one]) for one in ("Hit", "StaleServed", "Miss"))
    return hits + stale, hits + stale + misses


def half_figures(samples: Sequence[Sample], unserved: int) -> dict[str, Any]:
    """Return what callers of one half saw. Latencies are those of answers: a refusal is quick, and no answer."""
    latencies = [sample.latency_ms for sample in samples if not sample.failed]
    failed = Counter(sample.error or f"HTTP {sample.status}" for sample in samples if sample.failed)
    return {
        "requests": len(samples) + unserved,
        "p50_ms": percentile(latencies, 0.50),
        "p95_ms": percentile(latencies, 0.95),
        "p99_ms": percentile(latencies, 0.99),
        "errors": sum(failed.values()) + unserved,
        "errors_by_kind": {**failed, **({"no turn": unserved} if unserved else {})},
    }


def concurrency(samples: Iterable[Sample], start: float, seconds: float) -> float:
    """Return how many sandboxes were busy on average during these seconds: what Lambda bills."""
    busy = (min(sample.ended, start + seconds) - max(sample.began, start) for sample in samples)
    return round(sum(max(0.0, one) for one in busy) / seconds, 1)


def stripe_figures(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, int]:
    """Return calls to Stripe and refusals between two looks at a fake's counters."""
    return {
        "stripe_calls": after["reads"] - before["reads"],
        "stripe_429": sum(after["rate_limited"].values()) - sum(before["rate_limited"].values()),
    }


def series(samples: Iterable[Sample], start: float, seconds: float) -> list[dict[str, Any]]:
    """Return one row per second of the run, by when requests were due: latencies and the hit ratio."""
    rows: list[list[Sample]] = [[] for _ in range(math.ceil(seconds))]
    for sample in samples:
        rows[min(len(rows) - 1, max(0, int(sample.due - start)))].append(sample)
    return [_row(second, row) for second, row in enumerate(rows)]


def _row(second: int, samples: Sequence[Sample]) -> dict[str, Any]:
    tiers = [views.tier_of(status) for sample in samples for status in sample.cache]
    latencies = [sample.latency_ms for sample in samples if not sample.failed]
    return {
        "second": second,
        "requests": len(samples),
        "failed": sum(sample.failed for sample in samples),
        "p50_ms": percentile(latencies, 0.50),
        "p95_ms": percentile(latencies, 0.95),
        "hit_ratio": ratio(sum(bool(tier) for tier in tiers), len(tiers)),
    }


def ratio(part: float, whole: float) -> float | None:
    """Return a share, None of nothing."""
    return round(part / whole, 4) if whole else None
