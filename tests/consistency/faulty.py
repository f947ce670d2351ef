"""Doubles for the state machine: a clock that is told the time, and a tier that one process cannot reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from stripe_cache.core.errors import TierError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.entry import Stored
    from stripe_cache.core.key import Key
    from stripe_cache.core.ports import Claim, Counter, HoldChange, Reading, Slot, Stamp, State, StoreOutcome, Tier

Result = TypeVar("Result")
WORKS, DOWN, DEAF = "works", "down", "answers are lost"


class SetClock:
    """Both clocks of one process, as the test sets them."""

    def __init__(self, wall: float) -> None:
        self.wall = wall
        self.elapsed = 1000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.elapsed


class FaultyTier:
    """A real tier seen over one process's network: it may be down, or do what it is asked and its answer be lost."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self.mode = WORKS
        self.faults = 0
        self.voids = 0

    @property
    def name(self) -> str:
        return self._tier.name

    def read(self, namespace: str, slots: Sequence[Slot]) -> list[Reading]:
        return self._through(lambda: self._tier.read(namespace, slots))

    def touch(self, namespace: str, records: Sequence[str], token: str, ttl: float) -> tuple[list[State], Counter]:
        return self._through(lambda: self._tier.touch(namespace, records, token, ttl))

    def settle(self, namespace: str, generations: Sequence[tuple[str, str]], stamp: Stamp) -> None:
        self._through(lambda: self._tier.settle(namespace, generations, stamp))

    def store(self, key: Key, generation: str, stored: Stored, ttl: float) -> StoreOutcome:
        return self._through(lambda: self._tier.store(key, generation, stored, ttl))

    def void(self, namespace: str, records: Sequence[str], token: str, change: HoldChange) -> list[str]:
        voided = self._through(lambda: self._tier.void(namespace, records, token, change))
        self.voids += 1
        return voided

    def count(self, namespace: str, *, started: int = 0, finished: int = 0) -> Counter:
        return self._through(lambda: self._tier.count(namespace, started=started, finished=finished))

    def claim(self, key: Key, generation: str, token: str, seconds: float) -> Claim:
        return self._through(lambda: self._tier.claim(key, generation, token, seconds))

    def release(self, key: Key, generation: str, token: str, seconds: float) -> None:
        self._through(lambda: self._tier.release(key, generation, token, seconds))

    def _through(self, call: Callable[[], Result]) -> Result:
        if self.mode == WORKS:
            return call()
        self.faults += 1
        if self.mode == DEAF:
            call()
        raise TierError(f"{self.name}: {self.mode}")
