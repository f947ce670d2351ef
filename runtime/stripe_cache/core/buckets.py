"""The arithmetic of a token bucket that takes reservations and keeps a reserve; a function of values.

A caller that finds no token is told how long to wait and has its token from then on: nobody polls, and nobody who
gives up at once has taken anything. The reserve is a second, small bucket that fills first; what it cannot hold flows
into the first. So the rate is never exceeded, a quiet reserve costs nothing, and a queue of reads cannot delay a write.

The same arithmetic runs as a script inside Redis (`tiers/rate_limit_redis.py`); a test holds the two together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stripe_cache.core.rate_limits import BURST

START = 0.5
"""The part of a new bucket that is full: it may be new because Redis lost it, a moment after it was emptied."""
RECOVERY = 30.0
"""Seconds in which a bucket shrunk to nothing grows back, counting those in which it is used."""
SHRINK = 0.6
LEAST = 0.05
"""What a refusal by Stripe multiplies a bucket's rate with, and the least share of the rate that ever remains."""
LONGEST_PROMISE = 60.0
"""Seconds ahead for which shared tokens are promised at most; a bucket that owes more was not written by us."""
LONGEST_GAP = 1.0
"""The longest pause between two uses that counts towards recovery: idleness teaches nothing."""
SHRUNK_ONCE = 1.0
"""Seconds in which several refusals count as one: those in flight when Stripe's bucket ran dry all come back."""


@dataclass(slots=True)
class Level:
    """What a bucket holds at a moment: tokens (negative when promised ahead), its reserve, the learnt part of its rate.

    Times are seconds of one clock.
    """

    tokens: float
    reserved: float
    factor: float
    at: float
    shrunk_at: float = -math.inf

    @classmethod
    def new(cls, rate: float, reserve: float, factor: float, now: float) -> Level:
        """Begin a bucket."""
        size = rate * factor * BURST * START
        # At least one each: a bucket that begins empty, and is kept only once something was taken, would never fill.
        return cls(max(1.0, size * (1 - reserve)), max(1.0, size * reserve), factor, now)

    def refill(self, rate: float, reserve: float, now: float, recovery: float) -> None:
        """Add what came in since the last look, to the reserve first."""
        gap = max(0.0, now - self.at)
        # A clock that was set back must not stop the bucket until it has caught up.
        self.at, self.shrunk_at = now, min(self.shrunk_at, now)
        self.factor = min(1.0, self.factor + min(gap, LONGEST_GAP) / recovery)
        inflow = gap * rate * self.factor
        room = max(1.0, rate * self.factor * BURST * reserve)
        kept = min(room, self.reserved + inflow * reserve)
        overflow = self.reserved + inflow * reserve - kept
        self.reserved = kept
        size = max(1.0, rate * self.factor * BURST * (1 - reserve))
        self.tokens = min(size, self.tokens + inflow * (1 - reserve) + overflow)

    def wait(self, rate: float, reserve: float, *, urgent: bool) -> tuple[float, bool]:
        """Return the seconds until a token is due, and whether it comes out of the reserve."""
        speed = rate * self.factor
        ordinary = max(0.0, 1.0 - self.tokens) / (speed * (1 - reserve))
        if urgent and ordinary and reserve:
            spare = max(0.0, 1.0 - self.reserved) / (speed * reserve)
            return min(ordinary, spare), spare < ordinary
        return ordinary, False

    def take(self, *, from_reserve: bool) -> None:
        """Take one token, now or promised."""
        if from_reserve:
            self.reserved -= 1
        else:
            self.tokens -= 1

    def shrink(self) -> None:
        """Learn that Stripe refused: there are fewer tokens than we thought, and none right now."""
        if self.at - self.shrunk_at >= SHRUNK_ONCE:
            self.factor = max(LEAST, self.factor * SHRINK)
            self.shrunk_at = self.at
        self.tokens = min(self.tokens, 0.0)
        self.reserved = min(self.reserved, 0.0)
