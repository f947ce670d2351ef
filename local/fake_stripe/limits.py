"""Stripe's rate limits: token buckets per account and per endpoint, and an optional cap on concurrency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.fake_stripe.store import Scope

SEARCH_PER_SECOND = 20.0


@dataclass
class LimitSettings:
    """Requests per second; `factor` scales all of them and 0 turns the limits off."""

    factor: float = 0.0
    live: float = 100.0
    test: float = 25.0
    endpoint: float = 25.0
    concurrency: int = 0


class TokenBucket:
    """Holds one second's worth of tokens and refills evenly."""

    def __init__(self, per_second: float, now: float) -> None:
        self.per_second = per_second
        self.tokens = per_second
        self._at = now

    def refill(self, now: float) -> None:
        """Add what came in since the last look."""
        self.tokens = min(self.per_second, self.tokens + (now - self._at) * self.per_second)
        self._at = now


class Limiter:
    """Decides whether a request may run; a refused one costs no token."""

    def __init__(self) -> None:
        self.settings = LimitSettings()
        self._buckets: dict[tuple[object, ...], TokenBucket] = {}

    def configure(self, settings: LimitSettings) -> None:
        """Start over with other limits and full buckets."""
        self.settings = settings
        self._buckets.clear()

    def refusal(self, scope: Scope, endpoint: str, in_flight: int, now: float) -> str | None:
        """Take a token from each bucket, or return the value of Stripe-Rate-Limited-Reason."""
        settings = self.settings
        if settings.concurrency and in_flight >= settings.concurrency:
            return "global-concurrency"
        if not settings.factor:
            return None
        whole = self._bucket((scope,), settings.live if scope.livemode else settings.test, now)
        rate = min(settings.endpoint, SEARCH_PER_SECOND) if endpoint.endswith("/search") else settings.endpoint
        own = self._bucket((scope, endpoint), rate, now)
        if whole.tokens < 1:
            return "global-rate"
        if own.tokens < 1:
            return "endpoint-rate"
        whole.tokens -= 1
        own.tokens -= 1
        return None

    def _bucket(self, key: tuple[object, ...], per_second: float, now: float) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(per_second * self.settings.factor, now)
        bucket.refill(now)
        return bucket
