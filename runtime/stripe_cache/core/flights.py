"""One origin call for all who ask the same at the same time, within a process.

`Flights` are for readers who know under which generations they ask; `Turns` for those who do not.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

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
            flight = self._flights[key] = _new()
            return flight, True

    def land(self, key: Hashable, flight: Future[Result]) -> None:
        """Take the flight off the board; the caller sets its result or exception."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]

    def __len__(self) -> int:
        return len(self._flights)


class Turn(NamedTuple, Generic[Result]):
    """A place in the next call: `ahead` is the call under way that its leader lets land first, if there is one."""

    flight: Future[Result]
    leads: bool
    ahead: Future[Result] | None


class Turns(Generic[Result]):
    """Calls that only those share who asked before they were sent. Thread-safe.

    Nothing need be known of invalidations for that: whatever was confirmed before a reader began was confirmed before
    its call was sent, as if it had called by itself. Those who come while a call is under way share the next one:
        first: sends     second: comes, leads the next call, waits     third: comes, joins the second
        first: lands     second: departs, sends                        fourth: comes, leads the one after that
    So a process has one call under way per key, while its leaders wait for their turn.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._open: dict[Hashable, Future[Result]] = {}
        self._sent: dict[Hashable, Future[Result]] = {}

    def join(self, key: Hashable) -> Turn[Result]:
        """Return the place in the next call; a leader must `depart` when its turn has come, and `land` in any case."""
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            flight = self._open.get(key)
            if flight is not None:
                return Turn(flight, leads=False, ahead=None)
            flight = self._open[key] = _new()
            return Turn(flight, leads=True, ahead=self._sent.get(key))

    def depart(self, key: Hashable, flight: Future[Result]) -> None:
        """Let nobody join from now on; to be called before the call is sent."""
        with self._lock:
            if self._open.get(key) is flight:
                del self._open[key]
            self._sent[key] = flight

    def land(self, key: Hashable, flight: Future[Result]) -> None:
        """Take the call off the board, sent or not; the caller sets its result or exception."""
        with self._lock:
            for board in (self._open, self._sent):
                if board.get(key) is flight:
                    del board[key]

    def __len__(self) -> int:
        return len(self._open) + len(self._sent)


def tell(flight: Future[Result], result: Result, error: BaseException | None) -> None:
    """Let a flight end, once: a caller that is cancelled gives up what a thread may be about to land."""
    with suppress(InvalidStateError):
        if error is not None:
            flight.set_exception(error)
        else:
            flight.set_result(result)


def _new() -> Future[Result]:
    flight: Future[Result] = Future()
    # Marked as running: a follower that is cancelled must not cancel the flight for everybody else.
    flight.set_running_or_notify_cancel()
    return flight
