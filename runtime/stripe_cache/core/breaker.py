"""A circuit breaker: after failures, nobody asks for a while; then one caller tries for all.

Every tier has one, and every node of a cluster, every host of Stripe's, the limiter, the queues and the marks: their
pauses are the same. How long each waits for an answer, which is what a failure costs, is its own setting.
"""

from __future__ import annotations

from enum import Enum
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stripe_cache.core.clock import Clock

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
THRESHOLD = 2
"""Failures in a row that open it. A single exceeded deadline opens it at once: waiting is what a sick tier costs."""


class Admission(Enum):
    """What a caller is told that asks to be admitted."""

    REFUSED = "refused"
    FREE = "free"
    PROBE = "probe"
    """It tries for all the others, who are refused until it has reported."""


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
        """Whether it is open and no probe is due yet: none has been made, or one is under way."""
        until = self._open_until
        return until is not None and self._clock.monotonic() < until

    def admits(self) -> bool:
        """Tell whether this caller may try, where a probe takes no longer than a pause."""
        return self.admit() is not Admission.REFUSED

    def admit(self, longest: float = 0.0) -> Admission:
        """Tell whether this caller may try; while open, one at a time may: the probe.

        `longest` is how many seconds the caller can take to report. A probe that has not by then, nor within a pause,
        is taken to have died, and another is admitted.
        """
        if self._open_until is None:
            return Admission.FREE
        with self._lock:
            now = self._clock.monotonic()
            if self._open_until is None:
                return Admission.FREE
            if now < self._open_until:
                return Admission.REFUSED
            self._open_until = now + max(self._pause, longest)
            self._probing = True
            return Admission.PROBE

    def withdraw(self) -> None:
        """Say that the probe was not made, or nothing was learnt of it: the next caller may make it at once."""
        with self._lock:
            if self._probing and self._open_until is not None:
                self._open_until, self._probing = self._clock.monotonic(), False

    def succeeded(self) -> None:
        """Close it."""
        if self._failures:
            with self._lock:
                self._failures, self._pause, self._open_until, self._probing = 0, 0.0, None, False

    def failed(self, *, was_slow: bool, is_brief: bool = False, by_probe: bool = True) -> bool:
        """Count a failure; return whether this one opened it.

        A failed probe opens it again for twice as long, unless the trouble is known to be brief. With `by_probe` False
        the caller was admitted before it opened, or not asked for at all: the probe under way keeps its place.
        """
        with self._lock:
            self._failures += 1
            was_open = self._open_until is not None
            if was_open and not (self._probing and by_probe):
                # Calls that were under way when it opened fail one after the other: the same failure, not a new one.
                return False
            if not was_open and self._failures < self._threshold and not was_slow:
                return False
            self._probing = False
            self._pause = FIRST_PAUSE if is_brief else min(LONGEST_PAUSE, self._pause * 2 or FIRST_PAUSE)
            self._open_until = self._clock.monotonic() + self._pause
            return not was_open
