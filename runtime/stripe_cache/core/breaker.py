"""A circuit breaker: after failures, nobody asks for a while; then one caller tries for all.

Every tier has one, and every node of a cluster, every host of Stripe's, the limiter, the queues and the marks: their
pauses are the same. How long each waits for an answer, which is what a failure costs, is its own setting.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stripe_cache.core.clock import Clock

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
THRESHOLD = 2
"""Failures in a row that open it. A single exceeded deadline opens it at once: waiting is what a sick tier costs."""


class Breaker:
    """Closed while things work.

    Thread-safe; keeps no thread and no timer. Pauses are seconds of the monotonic clock.
    """

    def __init__(self, clock: Clock, threshold: int = THRESHOLD) -> None:
        self._clock = clock
        self._threshold = threshold
        self._lock = Lock()
        self._failures = 0
        self._pause = 0.0
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether callers are being turned away right now."""
        return self._open_until is not None

    @property
    def is_resting(self) -> bool:
        """Whether it is open and no probe is due yet."""
        until = self._open_until
        return until is not None and self._clock.monotonic() < until

    def admits(self) -> bool:
        """Tell whether this caller may try. While open, one caller per pause may: the probe."""
        if self._open_until is None:
            return True
        with self._lock:
            now = self._clock.monotonic()
            if self._open_until is None:
                return True
            if now < self._open_until:
                return False
            # The next caller waits a full pause, unless this probe reports back before.
            self._open_until = now + self._pause
            self._probing = True
            return True

    def succeeded(self) -> None:
        """Close it."""
        if self._failures:
            with self._lock:
                self._failures, self._pause, self._open_until, self._probing = 0, 0.0, None, False

    def failed(self, *, was_slow: bool, is_brief: bool = False) -> bool:
        """Count a failure; return whether this one opened it.

        A failed probe opens it again for twice as long, unless the trouble is known to be brief.
        """
        with self._lock:
            self._failures += 1
            if self._failures < self._threshold and not was_slow:
                return False
            was_open = self._open_until is not None
            if was_open and not self._probing:
                # Calls that were under way when it opened fail one after the other: the same failure, not a new one.
                return False
            self._probing = False
            self._pause = FIRST_PAUSE if is_brief else min(LONGEST_PAUSE, self._pause * 2 or FIRST_PAUSE)
            self._open_until = self._clock.monotonic() + self._pause
            return not was_open
