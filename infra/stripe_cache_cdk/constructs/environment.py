"""The names that the constructs and the runtime must agree on, in one place.

Nothing here is imported from the runtime, which may not know the constructs nor be known by them: a test of the project
compares these with what the runtime reads and emits.
"""

from __future__ import annotations

NAMESPACE = "STRIPE_CACHE_NAMESPACE"
LIVEMODE = "STRIPE_CACHE_LIVEMODE"
REDIS_URL = "STRIPE_CACHE_REDIS_URL"
TABLE = "STRIPE_CACHE_TABLE"
EVENTS = "STRIPE_CACHE_EVENTS"
STAGE = "STRIPE_CACHE_STAGE"
API_KEY_SECRET = "STRIPE_CACHE_API_KEY_SECRET"  # noqa: S105  # The name of a variable that holds a secret's ARN.
WEBHOOK_SECRET = "STRIPE_CACHE_WEBHOOK_SECRET"  # noqa: S105  # As above.
INVALIDATION_QUEUE_URL = "STRIPE_CACHE_INVALIDATION_QUEUE_URL"
REFRESH_QUEUE_URL = "STRIPE_CACHE_REFRESH_QUEUE_URL"
REFRESH_HOT = "STRIPE_CACHE_REFRESH_HOT"
READ_ONLY = "STRIPE_CACHE_READ_ONLY"
KMS_KEY = "STRIPE_CACHE_KMS_KEY"
POLICY = "STRIPE_CACHE_POLICY"
MEMORY_MAX_BYTES = "STRIPE_CACHE_MEMORY_MAX_BYTES"
MEMORY_MAX_LAG = "STRIPE_CACHE_MEMORY_MAX_LAG"
MAX_BODY_BYTES = "STRIPE_CACHE_MAX_BODY_BYTES"
REDIS_TIMEOUT = "STRIPE_CACHE_REDIS_TIMEOUT"
DYNAMODB_TIMEOUT = "STRIPE_CACHE_DYNAMODB_TIMEOUT"
ORIGIN_TIMEOUT = "STRIPE_CACHE_ORIGIN_TIMEOUT"
ORIGIN_WAIT = "STRIPE_CACHE_ORIGIN_WAIT"
RATE_LIMITS = "STRIPE_CACHE_RATE_LIMITS"
NEGATIVE_TTL = "STRIPE_CACHE_NEGATIVE_TTL"
AUDIT_RATE = "STRIPE_CACHE_AUDIT_RATE"
SHARED_SCOPE = "STRIPE_CACHE_SHARED_SCOPE"

RESOLVER = "RES_OPTIONS"
RESOLVER_GIVES_UP = "timeout:1 attempts:2"
"""Read by glibc, in every runtime of Lambda, in place of what /etc/resolv.conf says: looking up a name is the one step
that no deadline of the cache ends, and takes 10 s with glibc's own 5 s and 2 attempts when no name server answers. The
second attempt stays: without it one lost packet would fail a call of Stripe."""

ALL = (
    NAMESPACE,
    LIVEMODE,
    REDIS_URL,
    TABLE,
    EVENTS,
    STAGE,
    API_KEY_SECRET,
    WEBHOOK_SECRET,
    INVALIDATION_QUEUE_URL,
    REFRESH_QUEUE_URL,
    REFRESH_HOT,
    READ_ONLY,
    KMS_KEY,
    POLICY,
    MEMORY_MAX_BYTES,
    MEMORY_MAX_LAG,
    MAX_BODY_BYTES,
    REDIS_TIMEOUT,
    DYNAMODB_TIMEOUT,
    ORIGIN_TIMEOUT,
    ORIGIN_WAIT,
    RATE_LIMITS,
    NEGATIVE_TTL,
    AUDIT_RATE,
    SHARED_SCOPE,
)
