"""The names of what is measured, in one place: the meter emits them, dashboards and alarms read them.

Each read is counted once, when it is known how it ended. Hit: a tier had a fresh answer, or another process put one
there while this one waited. StaleServed: a tier's stale answer was given, because the caller accepts such or Stripe
failed. Miss: Stripe's own answer or failure was given, by a call of this read's or of one it waited for. Bypass: the
tiers were not asked. Per tier, Hit, StaleServed and Miss count looks and not reads: what memory misses, Redis may hit.
An only-if-cached that finds nothing is no read.

OriginCall is any request sent to Stripe, OriginReads are the GETs among them, audits and repetitions included. So the
reads that Stripe was spared are Hit + StaleServed + Miss + Bypass - OriginReads: a Miss without a call shared somebody
else's, or was refused by our own limits (OriginRefused), and a stale answer after a failed call spared none.
"""

from __future__ import annotations

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
