"""One origin call for all who ask the same at the same time, across processes: claims, and how long they are worth.

A claim lasts as long as the call it is for: its wait for a turn, its timeout, and a margin; in a Lambda never longer
than the invocation. So it outlives a slow call and not its holder, and nobody has to renew it. Whoever waits gives up
a little later than that, or in time for a call of its own before its invocation ends.

A holder that is frozen for longer has lost its claim: another asks. What the first then stores is decided by its
generation, as always, and its release is refused, because the claim carries the other's token by then.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from stripe_cache.core.errors import TierError
from stripe_cache.core.ports import LONGEST_CLAIM, Claim
from stripe_cache.core.protocol import new_token

if TYPE_CHECKING:
    from stripe_cache.core.deadline import Deadline
    from stripe_cache.core.protocol import Lease

MARGIN = 1.0
"""Seconds a claim outlives its call: to store the answer."""
SECOND_CHANCE = 3.0
"""Seconds a reader waits beyond the longest claim: it lets the next holder finish, instead of all asking at once."""
NOTICE_SECONDS = 2.0
"""How long others ask for themselves, all at once, after an answer that could not be stored."""
STALE_PATIENCE = 1.0
"""Seconds a reader waits for another's call before a stale entry answers: twice what Stripe takes when it is well."""
FIRST_PAUSE, LONGEST_PAUSE = 0.03, 0.2
"""Seconds between two looks: an origin call takes 0.1 to 0.5 s. Half as long again each time, and a quarter by lot."""


class Claims:
    """This process's claims. Thread-safe: its threads share one token, since flights keep them apart already.

    A synchronous call on an event loop's thread is why: it must not wait for a claim of a task on that very loop.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._mine: tuple[int, str] | None = None

    def take(self, lease: Lease) -> Claim:
        """Claim the slot, in one step of the tier; a tier that does not answer lets everybody ask."""
        return self._ask(lease, self._seconds())

    def peek(self, lease: Lease) -> Claim:
        """Say what `take` would, without claiming anything; costs a read."""
        return self._ask(lease, 0)

    def release(self, lease: Lease, notice: float = NOTICE_SECONDS) -> None:
        """Tell those who wait in other processes that nothing will come of this claim; with 0 just give it up."""
        with suppress(TierError):
            lease.tier.release(lease.key, lease.generation, self._token, notice)

    def patience(self) -> float:
        """Return the seconds for which a reader that begins to wait now may wait for others."""
        return min(self._deadline.spare(), self._seconds() + SECOND_CHANCE)

    def spare(self) -> float:
        """Return the seconds until a call of one's own must begin; infinite without an invocation."""
        return self._deadline.spare()

    @staticmethod
    def pause(last: float = 0.0) -> float:
        """Return the seconds to wait after having waited `last`; by lot, so that waiters do not march in step."""
        wanted = min(LONGEST_PAUSE, last * 1.5) if last else FIRST_PAUSE
        return wanted * (0.875 + secrets.randbelow(251) / 1000)

    def rest(self, rounds: int) -> float:
        """Return the seconds to wait before beginning again for the `rounds`th time: none, and then ever more.

        A record that is evicted between lease and claim, again and again, would keep its readers spinning.
        """
        seconds = 0.0
        for _ in range(min(rounds, 8) - 1):
            seconds = self.pause(seconds)
        return min(seconds, max(0.0, self.spare()))

    def _ask(self, lease: Lease, seconds: float) -> Claim:
        try:
            return lease.tier.claim(lease.key, lease.generation, self._token, seconds)
        except TierError:
            return Claim.ALONE

    def _seconds(self) -> float:
        return min(LONGEST_CLAIM, self._deadline.longest_call() + MARGIN)

    @property
    def _token(self) -> str:
        # Drawn on first use, and again in a forked child: processes that share a token never wait for each other.
        if self._mine is None or self._mine[0] != os.getpid():
            self._mine = os.getpid(), new_token()
        return self._mine[1]
