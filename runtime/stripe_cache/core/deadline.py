"""How long a caller can wait: until its Lambda invocation ends, or as long as the settings say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stripe_cache.core.clock import Clock

CALL_SECONDS = 1.0
"""What a call itself may take after its turn has come: kept back from the time left for waiting."""
LAST_SECONDS = 0.3
"""What the handler needs to answer when Stripe has not: kept back from the time left for a read."""
ANSWER_SECONDS = 0.1
"""What is left to do once a tier has answered: kept back from the time left for asking one."""
SHORTEST_STEP = 0.02
"""Seconds a step on a tier gets even then: enough for a tier that is well, and for a write's last void."""
LONGEST_WAIT = 10.0
SHORTEST_READ = 0.5
"""Seconds below which a read has little chance: Stripe answers in 0.1 to 0.5. Reserves for later yield to it."""
STALE_READ = 2.0
"""Seconds a read may take that has a stale entry: Stripe, if it is well, has answered by then."""
NEARLY = 0.9
"""The share of its timeout after which a failure was a timeout, as clocks and clients measure."""


class Deadline:
    """The end of the current invocation, if there is one. One invocation at a time, as in Lambda; plain reads are safe.

    `wait` and `timeout` are the settings' seconds for waiting and for one read.
    """

    def __init__(self, clock: Clock, wait: float, timeout: float) -> None:
        self._clock = clock
        self._wait = wait
        self._timeout = timeout
        self._ends: float | None = None

    def begin(self, context: Any) -> None:
        """Take the time left from a Lambda context; None, or anything without it, leaves the settings in force."""
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        left = remaining() if callable(remaining) else None
        self._ends = self._clock.monotonic() + left / 1000 if isinstance(left, (int, float)) else None

    def patience(self) -> float:
        """Return the seconds a call may wait for its turn."""
        left = self._left()
        return self._wait if left is None else min(LONGEST_WAIT, max(0.0, left - CALL_SECONDS))

    def read_timeout(self, *, has_stale: bool = False) -> float:
        """Return the seconds a read may take; less if a stale entry can answer in its stead.

        It ends before the invocation does. One for which that leaves less than Stripe needs is tried all the same, for
        what is left: nobody but Stripe can answer it, and perhaps Stripe is quick.
        """
        left = self._left()
        timeout = min(self._timeout, STALE_READ) if has_stale else self._timeout
        if left is None:
            return timeout
        at_the_end = max(SHORTEST_STEP, min(SHORTEST_READ, left - ANSWER_SECONDS))
        return min(timeout, max(left - LAST_SECONDS, at_the_end))

    def was_early(self, seconds: float) -> bool:
        """Tell whether a read that took so long was given up for its stale entry's sake: without one it has longer."""
        return self._timeout > STALE_READ and seconds >= STALE_READ * NEARLY

    def leaves_a_read(self) -> bool:
        """Tell whether Stripe may well answer before the invocation ends; if not, a stale entry had better."""
        left = self._left()
        return left is None or left >= SHORTEST_READ + LAST_SECONDS

    def longest_call(self) -> float:
        """Return the seconds after which a read that begins now is over: its wait for a turn, and its answer."""
        left = self._left()
        longest = self.patience() + self.read_timeout()
        return longest if left is None else min(longest, left)

    def spare(self) -> float:
        """Return the seconds until a call must begin if it is to end in time; infinite without an invocation."""
        left = self._left()
        return math.inf if left is None else max(0.0, left - CALL_SECONDS)

    def for_step(self, timeout: float) -> float:
        """Return the seconds that one step on a tier may take, of the `timeout` that its settings give it."""
        left = self._left()
        return timeout if left is None else min(timeout, max(SHORTEST_STEP, left - ANSWER_SECONDS))

    def leaves(self, seconds: float) -> bool:
        """Tell whether something that may take so long can be begun."""
        left = self._left()
        return left is None or left >= seconds + ANSWER_SECONDS

    def _left(self) -> float | None:
        if self._ends is None:
            return None
        left = self._ends - self._clock.monotonic()
        # A deadline that has passed was an earlier invocation's: Lambda would have ended this process.
        return left if left > 0 else None
