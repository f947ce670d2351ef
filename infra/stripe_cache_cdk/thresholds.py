"""When an alarm rings, as one typed value."""

from __future__ import annotations

from dataclasses import dataclass, fields

from stripe_cache_cdk.checks import check_range

LARGEST_PERCENT = 100


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The limits of every alarm: it rings above them, and `hit_ratio_percent` below. Percentages are 0 to 100.

    Counts are per five minutes, those of queues per minute. What breaks a promise has a limit of 0 and rings at once.
    `minimum_reads`, `minimum_calls`, `minimum_webhooks` and `minimum_looks` (into a tier: few, because a dead tier is
    hardly asked) are how much traffic five minutes must have before a ratio or a duration counts: below that, three
    misses at night would ring. `redis_cpu_percent` is of the engine's one thread. Checked where they are used, so that
    an error names the construct.
    """

    hit_ratio_percent: float = 70
    minimum_reads: int = 200
    origin_error_percent: float = 5
    minimum_calls: int = 20
    origin_rate_limited: int = 0
    origin_refused: int = 0
    origin_opens: int = 0

    invalidations_failed: int = 0
    stale_audits: int = 0
    keys_unavailable: int = 0
    webhooks_rejected: int = 0
    webhook_lag_p99_ms: int = 60_000
    minimum_webhooks: int = 5
    sweep_lag_ms: int = 3_600_000
    outbox_left: int = 0

    tier_error_percent: float = 5
    minimum_looks: int = 3
    tier_opens: int = 0
    redis_storage_percent: float = 80
    redis_read_latency_us: int = 5_000
    redis_cpu_percent: float = 90
    redis_new_connections: int = 1_000
    redis_evictions: int = 100
    redis_replication_lag_seconds: float = 1

    function_errors: int = 0
    function_error_percent: float = 1
    function_throttles: int = 0
    function_duration_percent: float = 80
    function_concurrency_percent: float = 80
    api_server_errors: int = 0
    api_client_error_percent: float = 50
    undelivered_events: int = 0
    queue_age_seconds: int = 60
    dead_letters: int = 0

    def check(self) -> None:
        """Raise StageError for the first field that is out of bounds."""
        for field in fields(self):
            highest = LARGEST_PERCENT if field.name.endswith("_percent") else float("inf")
            lowest = 1 if field.name.startswith("minimum_") else 0
            whole = field.type == "int"
            unit = "(a whole number)" if whole else "(a number)"
            check_range(f"thresholds.{field.name}", getattr(self, field.name), lowest, highest, unit, whole=whole)
