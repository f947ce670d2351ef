"""What a reader does that has a stale entry to fall back on: it waits a moment for others, and takes the entry then.

The entry is looked at again when it is taken: what was invalidated while the reader waited is gone, and the reader
goes on as if it had never had one.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

from stripe_cache.core.claims import STALE_PATIENCE
from stripe_cache.core.errors import NoTimeError, OriginUnavailableError, RateLimitedError
from stripe_cache.core.steps import Followed

if TYPE_CHECKING:
    from stripe_cache.core.answer import Answer
    from stripe_cache.core.clock import Clock
    from stripe_cache.core.deadline import Deadline
    from stripe_cache.core.lookup import Lookup
    from stripe_cache.core.steps import Step, Ticket

WAITING = "stale-while-waiting"
"""Nobody knows of a failure: Stripe's answer would have come later than this reader can wait."""


class Impatience:
    """Thread-safe; keeps nothing."""

    def __init__(self, lookup: Lookup, deadline: Deadline, clock: Clock) -> None:
        self._lookup = lookup
        self._deadline = deadline
        self._clock = clock

    def until(self, ticket: Ticket, until: float) -> float:
        """Return when the reader is to wait for others no longer; `until` is for one that has nothing else."""
        return min(until, self._clock.monotonic() + STALE_PATIENCE) if ticket.is_hurried else until

    def follow(self, ticket: Ticket, step: Step, until: float) -> Step:
        """Return the step, with an end if it is to wait for a flight whose leader may have more patience."""
        if ticket.is_hurried and isinstance(step, Future):
            return Followed(ticket, step, max(0.0, until - self._clock.monotonic()))
        return step

    def answer(self, ticket: Ticket) -> Answer | None:
        """Return the stale entry if one still stands and the reader did not ask for better."""
        return self._lookup.stale_answer(ticket.miss, WAITING) if ticket.is_hurried else None

    def answer_after(self, ticket: Ticket, error: Exception) -> Answer | None:
        """Return a stale entry if one still stands, now that the origin has failed, or was not asked."""
        reason = "stale-on-limit" if isinstance(error, RateLimitedError) else "stale-if-error"
        return self._lookup.stale_answer(ticket.miss, WAITING if isinstance(error, NoTimeError) else reason)

    def was_held_back(self, ticket: Ticket, error: Exception) -> bool:
        """Tell whether the call would have had a better chance without the stale entry.

        Then it failed for the entry's sake, and must not be its caller's failure if the entry is gone meanwhile.
        """
        took = self._clock.monotonic() - ticket.began
        was_early = ticket.is_hurried and self._deadline.was_early(took)
        return bool(ticket.miss.stale) and (was_early or isinstance(error, RateLimitedError | OriginUnavailableError))
