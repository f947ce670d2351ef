"""What one Lambda sandbox makes once and keeps: the cache, its meter, its secrets."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from stripe_cache.cache import StripeCache
from stripe_cache.core import metrics
from stripe_cache.handlers.secrets import Secrets
from stripe_cache.meter import EmfMeter
from stripe_cache.settings import Settings
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import stripe

    Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

log = logging.getLogger("stripe_cache")


class Container:
    """Built on the first invocation, so that a configuration error is an answer and a log line, not a failed import."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.meter = EmfMeter(settings.stage)
        self.cache = StripeCache(settings, engine=build(settings, meter=self.meter))
        self.secrets = Secrets(self.cache.engine.clock)
        self._clients: dict[str, stripe.StripeClient] = {}

    def apply(
        self, records: Sequence[str], *, account: str | None, livemode: bool | None, created: float | None
    ) -> None:
        """Void what an event names, and measure how long after the event that was; raises as `Engine.invalidate`."""
        self.cache.engine.invalidate(records, account=account, livemode=livemode)
        self.meter.count(metrics.WEBHOOK_ACCEPTED)
        if created is not None:
            lag = max(0.0, self.cache.engine.clock.now() - created)
            self.meter.observe(metrics.WEBHOOK_LAG, lag * 1000)

    def client(self) -> stripe.StripeClient:
        """Return the cached Stripe client for the configured key: one per key, because each keeps its connections."""
        key = self.secrets.values(self.settings.api_key_secret, "STRIPE_CACHE_API_KEY_SECRET")[0]
        if key not in self._clients:
            # A rolled key brings a new client; the old one goes with the old key.
            self._clients = {key: self.cache.client(key)}
        return self._clients[key]


@functools.cache
def container() -> Container:
    """Return this sandbox's container; raises SettingError or PolicyError as long as the environment is wrong."""
    return Container(Settings.from_env())


def metered(handler: Handler) -> Handler:
    """Write the metrics after every invocation of a handler, whatever became of it."""

    @functools.wraps(handler)
    def wrapper(event: dict[str, Any], context: Any) -> dict[str, Any]:
        try:
            return handler(event, context)
        finally:
            if container.cache_info().currsize:
                container().meter.flush()

    return wrapper
