"""The honesty of the memory tier (P5): how a process may serve its own copy of what a shared tier vouches for.

No thread and no subscription, because a Lambda is frozen between invocations. A copy remembers the shared tier's
counter of finished invalidations, as read at or before the read that brought the copy. The counter is read again when
the last look is older than `max_lag`. If it has not moved, nothing in the namespace was invalidated. If it has, the
generations are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stripe_cache.core.errors import TierError
from stripe_cache.core.protocol import generations

if TYPE_CHECKING:
    from stripe_cache.core.clock import Clock
    from stripe_cache.core.ports import Counter, Tier


@dataclass(slots=True)
class Witness:
    """What a shared tier said of a copy: the generations it stands on, and the counter under which they were last seen.

    `seen` is None if no counter was read before the copy. Two threads may both renew it: each writes a value it has
    checked.
    """

    tier: Tier
    standing: dict[str, str]
    seen: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class _Look:
    counter: tuple[str, int]
    monotonic: float
    wall: float


class Near:
    """Decides whether copies are still current. Thread-safe. `max_lag` is in seconds."""

    def __init__(self, max_lag: float, clock: Clock) -> None:
        self._max_lag = max_lag
        self._clock = clock
        self._looks: dict[tuple[str, str], _Look] = {}

    def last_seen(self, tier: Tier, namespace: str) -> tuple[str, int] | None:
        """Return the counter as last read, however long ago, without asking; None if it never was."""
        look = self._looks.get((tier.name, namespace))
        return look.counter if look else None

    def note(self, tier: Tier, namespace: str, counter: Counter, asked: tuple[float, float]) -> None:
        """Take over a counter that was read for another purpose; `asked` is `moment()` from before that read."""
        old = self._looks.get((tier.name, namespace))
        if old is None or old.monotonic <= asked[0]:
            self._looks[tier.name, namespace] = _Look((counter.epoch, counter.finished), *asked)

    def moment(self) -> tuple[float, float]:
        """Return both clocks, to be noted before a counter is read."""
        return self._clock.monotonic(), self._clock.now()

    def is_current(self, namespace: str, witness: Witness) -> bool:
        """Tell whether the copy may be served: at most `max_lag` behind any acknowledged invalidation.

        No round trip within `max_lag` of the last one in a quiet namespace; one to read the counter; one more if it
        has moved. A tier that does not answer vouches for nothing.
        """
        try:
            seen = self._counter(witness.tier, namespace)
        except TierError:
            return False
        if witness.seen == seen:
            return True
        # The counter was read before the generations: whatever finishes after it moves the counter beyond `seen`.
        if generations(witness.tier, namespace, list(witness.standing)) != witness.standing:
            return False
        witness.seen = seen
        return True

    def forget(self) -> None:
        """Make the next use of any copy ask first, as at the start of an invocation."""
        self._looks.clear()

    def _counter(self, tier: Tier, namespace: str) -> tuple[str, int]:
        monotonic, wall = self.moment()
        look = self._looks.get((tier.name, namespace))
        if look is not None:
            # A frozen sandbox may have stopped the monotonic clock, and a corrected wall clock may have jumped back:
            # the look is recent only if both say so.
            lag = max(monotonic - look.monotonic, abs(wall - look.wall))
            if lag < self._max_lag:
                return look.counter
        counter = tier.count(namespace)
        seen = (counter.epoch, counter.finished)
        self._looks[tier.name, namespace] = _Look(seen, monotonic, wall)
        return seen
