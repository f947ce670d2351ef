"""What a reader that missed is told to do next, by `read_through.py`, and does in its own colour, in `drive.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Hashable
    from concurrent.futures import Future

    from stripe_cache.core.answer import Answer
    from stripe_cache.core.descent import Miss
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.flights import Flights, Turns
    from stripe_cache.core.protocol import Lease


@dataclass(slots=True)
class Ticket:
    """The duty to ask the origin and report back.

    `asked_at` is the wall clock before the call, `began` the monotonic one.
    """

    miss: Miss
    asked_at: float
    began: float
    directives: Directives
    flight: Future[Answer | None] | None = None
    flight_key: Hashable = None
    board: Flights[Answer | None] | Turns[Answer | None] | None = None
    claimed: Lease | None = None
    found: Hashable = None
    """Which generations and counters the reader found; None without a lease."""
    slot: Hashable = None
    """Which slot is to be filled, and under which generations; without the counters."""
    until: float = 0.0
    """When a queued reader is to wait for others no longer, on the monotonic clock."""

    @property
    def is_hurried(self) -> bool:
        """Whether a stale entry is to answer rather than that this reader waits long; as for `OriginCall.yields`."""
        return bool(self.miss.stale) and not self.directives.critical


@dataclass(slots=True)
class Pause:
    """The advice to wait for `seconds` and then `resume`: another process is asking the origin the same."""

    ticket: Ticket
    seconds: float
    until: float
    """When the reader is to wait no longer, on the monotonic clock."""


@dataclass(slots=True)
class Queued:
    """The advice to wait until `ahead` has landed, `seconds` at most, and then to `depart`.

    Another call of this process is under way, and nobody can say whether it still counts for this reader; what it
    stores may be found all the same.
    """

    ticket: Ticket
    ahead: Future[Answer | None]
    seconds: float


@dataclass(slots=True)
class Followed:
    """The advice to wait for a flight for `seconds` and then to take a stale entry `instead`, if one still stands."""

    ticket: Ticket
    flight: Future[Answer | None]
    seconds: float


Step: TypeAlias = "Answer | Ticket | Pause | Queued | Followed | Future[Answer | None] | None"
"""Take the answer, ask the origin, wait in one of three ways, wait for a flight, or, if None, begin again.

A reader begins again when what it had found was invalidated before it asked: it takes part in a call whose answer can
be stored.
"""
