"""One origin call for all who ask the same at the same time, within a process."""

from __future__ import annotations

import os
from concurrent.futures import Future
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

Result = TypeVar("Result")


class Flights(Generic[Result]):
    """Calls under way, by key. Thread-safe.

    The key must hold everything that makes two askers deserve the same answer, the generation they found included: a
    reader that began after an invalidation then carries another key and never joins the flight from before it.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._flights: dict[Hashable, Future[Result]] = {}

    def join(self, key: Hashable) -> tuple[Future[Result], bool]:
        """Return the flight under this key and whether the caller leads it; a leader must `land` it, come what may."""
        if self._pid != os.getpid():
            # Flights of the parent never land in a forked child, and a thread that is not here may hold the lock.
            self._begin()
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Future()
            # Marked as running: a follower that is cancelled must not cancel the flight for everybody else.
            flight.set_running_or_notify_cancel()
            return flight, True

    def land(self, key: Hashable, flight: Future[Result]) -> None:
        """Take the flight off the board; the caller sets its result or exception."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]

    def __len__(self) -> int:
        return len(self._flights)
