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
READ_ONLY = "STRIPE_CACHE_READ_ONLY"

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
    READ_ONLY,
)
