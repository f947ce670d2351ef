"""The attempts that a client makes by itself of one request that the gate has let out.

A client that repeats what fails (the SDK's `max_network_retries`) does so below the gate. Each further attempt is one
more request for Stripe's limits, so whoever makes it asks here first, and takes its timeout from here too.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


class Gatekeeper(Protocol):
    """The gate, as the attempts of one request see it."""

    def repeat(self, raw: tuple[Any, int, Mapping[str, str]] | None) -> float | None:
        """Return the seconds to wait before one more attempt, or None if there is to be none; `raw` is the last answer.

        May ask a shared store: not to be called on an event loop.
        """
        ...

    def departs(self) -> None:
        """Note that an attempt is being sent."""
        ...

    def timeout(self) -> float:
        """Return the seconds an attempt of a read may take from now on."""
        ...


class Repeats:
    """The attempts of one request that was let out once. Used by one thread or task at a time."""

    def __init__(self, passage: Gatekeeper) -> None:
        self.passage = passage
        self.is_first = True
        self.outcome: tuple[Any, int, Mapping[str, str]] | Exception = (b"", 0, {})
        """How the last attempt ended, unless the first is still to come."""

    def next(self) -> float | None:
        """Return the seconds to wait before the next attempt; None: there is to be none, the last outcome stands."""
        if self.is_first:
            return 0.0
        return self.passage.repeat(None if isinstance(self.outcome, Exception) else self.outcome)

    def departs(self) -> None:
        """Note that the next attempt is being sent, after the wait; the gate has noted the first one."""
        if not self.is_first:
            self.passage.departs()
        self.is_first = False


# Set around each sending, in the thread or task that sends.
_UNDER_WAY: ContextVar[Repeats | None] = ContextVar("stripe_cache_repeats", default=None)


def under_way() -> Repeats | None:
    """Return the request that is being sent here; None outside of the gate."""
    return _UNDER_WAY.get()


@contextmanager
def sending(passage: Gatekeeper) -> Iterator[None]:
    """Wrap one sending by the gate."""
    before = _UNDER_WAY.get()
    _UNDER_WAY.set(Repeats(passage))
    try:
        yield
    finally:
        _UNDER_WAY.set(before)
