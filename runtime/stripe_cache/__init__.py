"""A multi-tier read-through cache between Python Lambdas and the Stripe API."""

from stripe_cache.cache import StripeCache
from stripe_cache.core.answer import Answer
from stripe_cache.core.cache_status import CacheStatus
from stripe_cache.core.errors import (
    ConfigurationError,
    InvalidationError,
    NotAnEventError,
    NotCachedError,
    PolicyError,
    ReadOnlyError,
    RequestError,
    SettingError,
    StripeCacheError,
    TableError,
)
from stripe_cache.settings import Settings

__all__ = [
    "Answer",
    "CacheStatus",
    "ConfigurationError",
    "InvalidationError",
    "NotAnEventError",
    "NotCachedError",
    "PolicyError",
    "ReadOnlyError",
    "RequestError",
    "SettingError",
    "Settings",
    "StripeCache",
    "StripeCacheError",
    "TableError",
]
