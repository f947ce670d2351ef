"""Actors of an exploration: ordinary functions that are taken one step further at a time, and never interrupted.

To take one step of an actor, it is run again from its beginning with the answers its earlier steps got, up to the
first step that has none; that one is taken, and the run is given up at the next.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from stripe_cache.core.errors import TierError

World = MutableMapping[Any, Any]
Effect = Callable[[World], Any]

OK, FAILS, LOST, BREAKS = "ok", "fails", "answer lost", "connection breaks after it took effect"
DEAD = "connection turns out to be dead"
LATE, LATE_BREAKS = "no answer, it takes effect later", "connection breaks, it takes effect later"
_SENT_AGAIN = {DEAD, BREAKS, LATE_BREAKS}


class Suspended(BaseException):
    """The actor has come to a step that is not its turn to take; no code under test may catch this."""

    def __init__(self, label: str, faults: tuple[str, ...], ready: Callable[[World], bool] | None = None) -> None:
        super().__init__(label)
        self.label = label
        self.faults = faults
        self.ready = ready
        """When the step can be taken at all; None for at any time."""


class Violation(BaseException):
    """A promise was broken; no code under test may catch this."""


class BrokenConnectionError(Exception):
    """A step's connection broke before the answer came: whether it took effect, took none or will, nobody knows."""


@dataclass(frozen=True)
class _Failed:
    choice: str


@dataclass
class Actor:
    """One thread of a process: what it has been told so far, and whether it may take one more step now."""

    name: str
    world: World
    log: list[Any]
    choice: str | None = None
    cursor: int = 0
    tokens: int = 0
    preludes: list[Effect] = field(default_factory=list)
    suspended: Suspended | None = None
    broken: Violation | None = None

    def point(
        self,
        label: str,
        effect: Effect,
        faults: tuple[str, ...] = (),
        *,
        late: Effect | None = None,
        ready: Callable[[World], bool] | None = None,
    ) -> Any:
        """Take a step that others may come before; raises TierError when the search wants it to fail.

        `late` is what happens now if it takes effect later. While the world is not `ready` it cannot be taken.
        """
        self._give_up_if_broken()
        if self.cursor < len(self.log):
            self.preludes.clear()
            return self._logged()
        if self.choice is None:
            # A `finally` of the code under test may ask for more while it is given up: the first step is the next one.
            self.suspended = self.suspended or Suspended(label, faults, ready)
            raise self.suspended
        choice, self.choice = self.choice, None
        self._begin()
        if choice in {LATE, LATE_BREAKS}:
            effect = late or effect
        result = None if choice in {FAILS, DEAD} else self._do(effect)
        self.log.append(result if choice == OK else _Failed(choice))
        return self._logged()

    def instant(self, effect: Effect) -> Any:
        """Do something at once, in one breath with the step before it."""
        self._give_up_if_broken()
        if self.suspended is not None:
            raise self.suspended
        if self.cursor == len(self.log):
            self._begin()
            self.log.append(self._do(effect))
        self.preludes.clear()
        return self._logged()

    def before_next(self, effect: Effect) -> None:
        """Do something in one breath with the next step, just before it."""
        self.preludes.append(effect)

    def token(self) -> str:
        """Return a word that nobody else uses, and this actor only once."""
        self.tokens += 1
        return f"{self.name}{self.tokens}"

    def _begin(self) -> None:
        for prelude in self.preludes:
            self._do(prelude)
        self.preludes.clear()

    def _do(self, effect: Effect) -> Any:
        try:
            return effect(self.world)
        except Violation as violation:
            self.broken = violation
            raise

    def _give_up_if_broken(self) -> None:
        # A `finally` of the code under test may go on; what is wrong must not be lost over it.
        if self.broken is not None:
            raise self.broken

    def _logged(self) -> Any:
        result = self.log[self.cursor]
        self.cursor += 1
        if isinstance(result, _Failed):
            if result.choice in _SENT_AGAIN:
                raise BrokenConnectionError
            raise TierError(f"model: {result.choice}")
        return result
