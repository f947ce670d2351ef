"""The meter that writes CloudWatch metrics, in the embedded metric format through Powertools.

Counts are added up and written once per invocation, because every line costs ingestion. Each metric appears under
service and stage and, where it is known, once more under the tier and once under the object type: sums for alarms and
graphs, and never the product of tiers and types, because every combination of dimensions is a metric to pay for. What
is told of a tier alone appears under the tier alone.
"""

from __future__ import annotations

from collections import defaultdict
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "StripeCache"
SERVICE = "stripe-cache"
TIER, OBJECT_TYPE, STAGE = "tier", "object_type", "stage"
_VALUES_PER_LINE = 99
"""EMF takes at most 100 values of one metric in a line; at that many Powertools writes a line on its own."""

Dimension = tuple[str, str]


class EmfMeter:
    """Collects, and writes to standard output when flushed. Thread-safe; never raises for a metric's sake."""

    def __init__(self, stage: str = "", service: str = SERVICE) -> None:
        self._stage = stage or "none"
        self._service = service
        self._lock = Lock()
        self._counts: dict[tuple[Dimension, str], float] = defaultdict(float)
        self._times: dict[tuple[Dimension, str], list[float]] = defaultdict(list)

    def count(self, metric: str, value: float = 1, *, tier: str = "", object_type: str = "") -> None:
        """Add to a metric; adding nothing writes nothing."""
        if not value:
            return
        with self._lock:
            for dimension in _dimensions(tier, object_type):
                self._counts[dimension, metric] += value

    def observe(self, metric: str, milliseconds: float, *, tier: str = "", object_type: str = "") -> None:
        """Record a duration; beyond 99 in one invocation every other one is dropped."""
        with self._lock:
            for dimension in _dimensions(tier, object_type):
                times = self._times[dimension, metric]
                if len(times) >= _VALUES_PER_LINE:
                    del times[::2]
                times.append(milliseconds)

    def flush(self) -> None:
        """Write everything collected and begin anew; call it at the end of every invocation."""
        with self._lock:
            counts, self._counts = self._counts, defaultdict(float)
            times, self._times = self._times, defaultdict(list)
        if not counts and not times:
            return
        from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

        for dimension in sorted({dimension for dimension, _ in (*counts, *times)}):
            metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._service)
            metrics.add_dimension(STAGE, self._stage)
            if dimension[0]:
                metrics.add_dimension(*dimension)
            for (other, name), total in counts.items():
                if other == dimension:
                    metrics.add_metric(name, MetricUnit.Count, total)
            for (other, name), values in times.items():
                if other == dimension:
                    for value in values:
                        metrics.add_metric(name, MetricUnit.Milliseconds, value)
            metrics.flush_metrics()


def _dimensions(tier: str, object_type: str) -> Iterator[Dimension]:
    # What concerns a tier alone is no total: a read that memory misses may be a hit all the same.
    if object_type or not tier:
        yield "", ""
    if tier:
        yield TIER, tier
    if object_type:
        yield OBJECT_TYPE, object_type
