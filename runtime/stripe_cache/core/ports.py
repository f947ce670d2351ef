"""What the core asks of the outside: a place to keep entries (Tier) and somebody who counts (Meter).

A tier is dumb. It offers six steps for invalidation and two for claims, each atomic on its own, and knows nothing of
the order in which they make invalidation safe: that order is `protocol.py`. Any tier may raise; the guard around it
turns that into a miss.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_cache.core.entry import Stored
    from stripe_cache.core.key import Key


class Counter(NamedTuple):
    """A namespace's invalidation counter as one tier holds it.

    `epoch` is a random word that changes whenever the counter was lost (flush, eviction) and began again: numbers of
    two epochs cannot be compared. `started` counts invalidations announced, `finished` those whose records were
    voided too.
    """

    epoch: str
    started: int
    finished: int


class Stamp(NamedTuple):
    """A value the counter had when a generation already stood: what made the generation was announced by then."""

    epoch: str
    number: int


@dataclass(frozen=True, slots=True)
class State:
    """A record as `touch` found or made it.

    `stamp` is None while the generation is new and nobody has settled it. `holds` are the writes in flight on it, each
    `<token>@<epoch seconds until which it counts>`.
    """

    generation: str
    stamp: Stamp | None
    holds: tuple[str, ...] = ()


class Reading(NamedTuple):
    """What a tier has in one slot: the record's generation if the record exists, the stored value if there is one."""

    generation: str | None
    stored: Stored | None


class Slot(NamedTuple):
    """A record, and the variant wanted of it; None asks for the record's generation only."""

    record: str
    key: Key | None = None


class StoreOutcome(Enum):
    """What became of a fill."""

    STORED = "stored"
    REFUSED = "refused"
    TOO_LARGE = "too-large"
    UNSEALED = "unsealed"
    """Encryption is asked for, and there is no key for it now."""


LONGEST_CLAIM = 60.0
"""Seconds: a stored claim that ends later than this from now is none of ours, and nobody waits for it."""


class Claim(Enum):
    """What a reader that wants to fill a slot for everybody is told."""

    MINE = "mine"
    """Ask the origin; the others wait."""
    TAKEN = "taken"
    """Somebody is asking: look again soon."""
    ALONE = "alone"
    """Somebody has asked, and nothing could be stored: ask for yourself, waiting brings nothing."""
    GONE = "gone"
    """The generation has moved: whatever is fetched now is not going to be stored."""


class Tier(Protocol):
    """One place to keep entries.

    Thread-safe. Each method may raise TierError, and does what it does atomically per record.
    """

    @property
    def name(self) -> str:
        """The word for this tier in metrics and Cache-Status: memory, redis or dynamodb."""
        ...

    def read(self, namespace: str, slots: Sequence[Slot]) -> list[Reading]:
        """Read all slots in one round trip; a value that does not decode is counted and absent."""
        ...

    def touch(self, namespace: str, records: Sequence[str], token: str, ttl: float) -> tuple[list[State], Counter]:
        """Return each record's state, creating an absent one unsettled under `token`, and THEN read the counter.

        The records live `ttl` more seconds at least.
        """
        ...

    def settle(self, namespace: str, generations: Sequence[tuple[str, str]], stamp: Stamp) -> None:
        """Stamp each (record, generation) that is still unsettled under just that generation."""
        ...

    def store(self, key: Key, generation: str, stored: Stored, ttl: float) -> StoreOutcome:
        """Keep the value for `ttl` seconds if the record still has this generation; else refuse."""
        ...

    def void(self, namespace: str, records: Sequence[str], token: str, change: HoldChange) -> list[str]:
        """Give each record the generation `token`, unsettled, and drop all it stored; return the records that have it.

        A step that was sent again gives another word than `token`, and returns nothing.

        An absent record stays absent (nothing can be stored under a generation that is gone), unless a hold is added.
        """
        ...

    def count(self, namespace: str, *, started: int = 0, finished: int = 0) -> Counter:
        """Add to the namespace's counter, beginning a new epoch if it is absent, and return it."""
        ...

    def claim(self, key: Key, generation: str, token: str, seconds: float) -> Claim:
        """Claim the right to ask the origin for this slot, under this generation, for `seconds`, LONGEST_CLAIM at most.

        With 0 seconds nothing is claimed or written, and MINE says that it could be. A claim of one's own is granted
        again: within a process, flights see to it that only one caller asks.

        For efficiency, never for correctness: a claim that is lost or doubled costs an origin call and nothing else.
        """
        ...

    def release(self, key: Key, generation: str, token: str, seconds: float) -> None:
        """Turn a claim that led to nothing into a notice, for `seconds`, that waiting is in vain; 0 leaves none."""
        ...


class HoldChange(NamedTuple):
    """A hold that a void adds to its records, and one that it takes away; empty strings for neither."""

    add: str = ""
    remove: str = ""


NO_HOLD = HoldChange()


class Meter(Protocol):
    """Whoever counts. Never raises, never blocks."""

    def count(self, metric: str, value: float = 1, *, tier: str = "", object_type: str = "") -> None:
        """Add to a metric of `metrics.py`."""
        ...

    def observe(self, metric: str, milliseconds: float, *, tier: str = "", object_type: str = "") -> None:
        """Record one duration."""
        ...


class NullMeter:
    """Counts nothing."""

    def count(self, metric: str, value: float = 1, *, tier: str = "", object_type: str = "") -> None:
        """Ignore it."""

    def observe(self, metric: str, milliseconds: float, *, tier: str = "", object_type: str = "") -> None:
        """Ignore it."""
