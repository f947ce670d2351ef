"""Time as an argument: the one place that asks the machine what time it is."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the engine asks about time."""

    def now(self) -> float:
        """Return wall-clock seconds since the epoch; used for freshness only, never to order changes."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back; it may stand still while a Lambda is frozen."""
        ...


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
