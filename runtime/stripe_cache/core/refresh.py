"""Stale-while-revalidate where nothing runs after the response: the refresh is a message in a queue.

A reader that finds a stale entry answers with it and asks for a refresh, once per entry and half minute. The message
names what to read and never with which credential: whoever reads the queue learns no key, and whoever writes to it
can at worst make the refresher read what its own key may read.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from stripe_cache.core import metrics
from stripe_cache.core.breaker import Breaker
from stripe_cache.core.errors import StripeCacheError

if TYPE_CHECKING:
    from stripe_cache.core.clock import Clock
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.ports import Meter

log = logging.getLogger("stripe_cache")

LOCK_SECONDS = 30.0
"""A refresh that has not come by then has failed and is asked for again."""
_WAITED = 0.2
"""Seconds after which a message that was taken kept its reader waiting for too long: the queue's own deadlines."""
_KEPT = 4096


class RefreshLock(Protocol):
    """Lets one process of all ask. May raise TierError or ConfigurationError."""

    def acquire(self, namespace: str, variant: str, seconds: float) -> bool:
        """Take the lock for so long, without waiting; False if somebody has it."""
        ...


class RefreshQueue(Protocol):
    """Where refreshes are asked for. May raise TierError."""

    def send(self, message: dict[str, Any], delay: int = 0) -> None:
        """Put one message in, to be seen after so many seconds."""
        ...


class Refresher:
    """Asks for refreshes. Thread-safe."""

    def __init__(self, queue: RefreshQueue, lock: RefreshLock | None, clock: Clock, meter: Meter) -> None:
        self._queue = queue
        self._shared = lock
        self._clock = clock
        self._meter = meter
        self._breaker = Breaker(clock)
        self._shared_breaker = Breaker(clock)
        self._lock = Lock()
        self._asked: OrderedDict[tuple[str, str], float] = OrderedDict()

    def request(self, plan: Plan) -> bool:
        """Ask for a refresh unless somebody has; return whether one is on its way, False if the queue is not told."""
        return self.send(message_of(plan), object_type=plan.object_type)

    def send(self, message: dict[str, Any], delay: int = 0, *, object_type: str = "") -> bool:
        """Ask for what a message describes, as `request` does."""
        name = (message["namespace"], message["variant"])
        now = self._clock.monotonic()
        with self._lock:
            if self._asked.get(name, 0.0) > now:
                return True
            if not self._breaker.admits():
                return False
            self._asked[name] = now + LOCK_SECONDS
            self._asked.move_to_end(name)
            if len(self._asked) > _KEPT:
                self._asked.popitem(last=False)
        was_slow = False
        try:
            if self._acquired(*name):
                began = self._clock.monotonic()
                self._queue.send(message, delay)
                was_slow = self._clock.monotonic() - began > _WAITED
                self._meter.count(metrics.REFRESH_QUEUED, object_type=object_type)
            if was_slow:
                # The second in a row opens it. The first may have made boto3's client (see `warm`), and does not
                # speak for the queue.
                self._breaker.failed(was_slow=False)
            else:
                self._breaker.succeeded()
        except StripeCacheError as error:
            self._breaker.failed(was_slow=True)
            log.warning("a refresh could not be asked for: %s", error)
            with self._lock:
                self._asked.pop(name, None)
            return False
        return True

    def _acquired(self, namespace: str, variant: str) -> bool:
        # Without the lock every process may ask once: too many refreshes are better than none, and better than
        # readers of many stale entries that wait for a dead tier in turn.
        if self._shared is None or not self._shared_breaker.admits():
            return True
        try:
            acquired = self._shared.acquire(namespace, variant, LOCK_SECONDS)
        except StripeCacheError:
            self._shared_breaker.failed(was_slow=True)
            return True
        self._shared_breaker.succeeded()
        return acquired


def message_of(plan: Plan) -> dict[str, Any]:
    """Describe a refresh: everything that makes the variant but the credential, and the variant to compare with."""
    parts = urlsplit(plan.target.url)
    return {
        "refresh": parts.path,
        "query": parts.query,
        "namespace": plan.key.namespace,
        "account": plan.target.account,
        "context": plan.target.context,
        "version": plan.target.version,
        "variant": plan.key.variant,
    }
