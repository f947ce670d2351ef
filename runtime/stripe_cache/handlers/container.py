"""What one Lambda sandbox makes once and keeps: the cache, its meter, its secrets."""

from __future__ import annotations

import functools
import logging
import os
from typing import TYPE_CHECKING, Any

from stripe_cache import outbox_wiring
from stripe_cache.cache import StripeCache
from stripe_cache.core import metrics
from stripe_cache.core.errors import InvalidationError
from stripe_cache.core.events import MOST_RECORDS
from stripe_cache.handlers.secrets import Secrets
from stripe_cache.meter import EmfMeter
from stripe_cache.settings import Settings
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import stripe

    from stripe_cache.core.outbox import Cause, Outboxes
    from stripe_cache.core.replay import Replayer

    Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

log = logging.getLogger("stripe_cache")


class Container:
    """Built while Lambda initialises, or on the first invocation: a configuration error is an answer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.meter = EmfMeter(settings.stage)
        self.cache = StripeCache(settings, engine=build(settings, meter=self.meter))
        self.secrets = Secrets(self.cache.engine.clock)
        self._clients: dict[str, stripe.StripeClient] = {}

    @functools.cached_property
    def replayer(self) -> Replayer | None:
        """What tells tiers what they missed, if the outbox is in the table."""
        return outbox_wiring.replayer(self.settings, self.cache.engine)

    @functools.cached_property
    def table_outboxes(self) -> Outboxes | None:
        """The outbox in the table, for what the queue cannot get rid of."""
        return outbox_wiring.table_outboxes(self.settings, self.cache.engine.clock, self.meter)

    def apply(
        self,
        records: Sequence[str],
        *,
        account: str | None,
        livemode: bool | None,
        cause: Cause,
        by_context: bool = False,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> str:
        """Void what an event names, in every namespace that keeps it, and measure how long after the event that was.

        Returns "done", "queued" if an outbox has some of it, or "repeated" if the event was applied before. What
        names more than MOST_RECORDS goes through an outbox, or without one on, step by step, while `may_go_on`.
        Raises as `Engine.invalidate` where neither is enough.
        """
        engine = self.cache.engine
        places = engine.places(records, account=account, livemode=livemode, by_context=by_context)
        if engine.seen and cause.event and engine.seen.known([*places], [cause.event]):
            self.meter.count(metrics.EVENT_REPEATED)
            return "repeated"
        queued = False
        most = max(map(len, places.values()), default=0)
        for start in range(0, most, MOST_RECORDS):
            step = {namespace: named[start : start + MOST_RECORDS] for namespace, named in places.items()}
            if start and self._postpone(step, cause):
                queued = True
                continue
            if not may_go_on():
                raise InvalidationError(tuple(records), {}, {"time": f"there was none left for {most - start}"})
            try:
                engine.void(step, cause)
            except InvalidationError as error:
                if not error.queued:
                    raise
                queued = True
        self.meter.count(metrics.WEBHOOK_ACCEPTED)
        if not queued:
            self._confirmed(places, cause)
        return "queued" if queued else "done"

    def _confirmed(self, places: Mapping[str, Sequence[str]], cause: Cause) -> None:
        """Do what may only be done, or is only known, after every tier has confirmed; nothing here fails an event."""
        engine = self.cache.engine
        if engine.seen and cause.event:
            engine.seen.mark([*places], [cause.event])
        engine.invalidator.pay_debts()
        if engine.heat:
            for namespace, records in places.items():
                engine.heat.refresh([namespace], records)
        if cause.created is not None:
            self.meter.observe(metrics.WEBHOOK_LAG, max(0.0, engine.clock.now() - cause.created) * 1000)

    def _postpone(self, places: Mapping[str, Sequence[str]], cause: Cause) -> bool:
        invalidator = self.cache.engine.invalidator
        postponed = [invalidator.postpone(namespace, records, cause) for namespace, records in places.items()]
        return all(postponed)

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


def warm() -> None:
    """Make what takes long to make; what the environment has wrong is told by the first invocation."""
    try:
        container().cache.warm()
    except Exception as error:  # noqa: BLE001 - an initialisation that fails is repeated, and says less than an answer
        log.warning("nothing was made in advance: %s", type(error).__name__)


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


def time_left(context: Any) -> Callable[[], bool]:
    """Tell whether an invocation has a quarter of its time left still: to answer in, and for what was begun."""
    if not hasattr(context, "get_remaining_time_in_millis"):
        return lambda: True
    granted = context.get_remaining_time_in_millis()
    return lambda: bool(context.get_remaining_time_in_millis() > granted / 4)


if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:
    # While Lambda initialises the sandbox, or before SnapStart takes its picture, nobody waits for an answer of Redis.
    warm()
