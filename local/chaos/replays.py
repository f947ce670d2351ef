"""What replays the outbox during a fault: the reconciler's first half, once a second, in a process of its own.

Not its second half. The sweep of events would mend an invalidation that was acknowledged and lost, and hide it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_SECONDS = 1.0
"""As deployed it is minutes; a fault lasts seconds."""


class Run(NamedTuple):
    """One replay: when it began and ended, in epoch seconds, and whether it left the outbox empty."""

    began: float
    ended: float
    emptied: bool


class Replays:
    """Replays until it is left; raises then what ended it early. `replay` does it once and says what is left."""

    def __init__(self, replay: Callable[[], dict[str, Any]]) -> None:
        self._replay = replay
        self._runs: list[Run] = []
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._live)

    def told_since(self, at: float) -> float | None:
        """Return when everything that was queued by `at` had reached every tier; None if that has not come yet."""
        # The next run, not the one under way: it may have read the outbox before.
        return next((run.ended for run in self._runs if run.began >= at and run.emptied), None)

    def wait_until_told(self, at: float, seconds: float) -> bool:
        """Wait until everything queued by `at` has reached every tier; return whether it did in time."""
        deadline = time.monotonic() + seconds
        while self.told_since(at) is None and time.monotonic() < deadline and self._error is None:
            time.sleep(0.05)
        return self.told_since(at) is not None

    def _live(self) -> None:
        try:
            while not self._stop.wait(EVERY_SECONDS):
                began = time.time()
                done = self._replay()
                self._runs.append(Run(began, time.time(), done["left"] == 0 and not done["failed"]))
        except BaseException as error:  # noqa: BLE001 -- told on leaving, on the thread that can act on it
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error
