"""What a search remembers of the steps it took: a step in a world that looks the same to it ends the same.

An actor's step is a function of what the actor was told so far and of the places of the world that the step looks at.
States differ mostly in places that one step never sees, so most steps of a search repeat one that was taken before.
Nothing is assumed about which places those are: each look is recorded as it happens, and the record is a tree. The
first place a step looks at depends on nothing else; which it looks at next, only on what it saw so far.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consistency.actors import World

_NOTHING = object()
"""Stands for what is not there: neither a value nor None."""

_EVERYTHING = object()
"""Stands for all places at once, for who goes through them."""


class Observed(MutableMapping[Any, Any]):
    """A world that takes down what is looked at, in order, and what is changed; the one beneath stays as it is."""

    def __init__(self, beneath: World) -> None:
        self._beneath = beneath
        self.seen: dict[Any, Any] = {}
        self.changes: dict[Any, Any] = {}

    def __getitem__(self, place: Any) -> Any:
        value = self.changes[place] if place in self.changes else self._look(place)
        if value is _NOTHING:
            raise KeyError(place)
        return value

    def __setitem__(self, place: Any, value: Any) -> None:
        self.changes[place] = value

    def __delitem__(self, place: Any) -> None:
        if place not in self:
            raise KeyError(place)
        self.changes[place] = _NOTHING

    def __iter__(self) -> Iterator[Any]:
        self.seen.setdefault(_EVERYTHING, _look(self._beneath, _EVERYTHING))
        return iter(apply(self.changes, self._beneath))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _look(self, place: Any) -> Any:
        return self.seen.setdefault(place, self._beneath.get(place, _NOTHING))


def apply(changes: dict[Any, Any], world: World) -> dict[Any, Any]:
    """Return this world as it is after these changes."""
    after = {**world, **changes}
    for place, value in changes.items():
        if value is _NOTHING:
            del after[place]
    return after


@dataclass(frozen=True)
class _Outcome:
    result: Any
    changes: dict[Any, Any]


@dataclass(frozen=True)
class _Look:
    """A place that is looked at, and what comes next for each value that was seen there."""

    place: Any
    following: dict[Any, _Look | _Outcome] = field(default_factory=dict)


class Recall:
    """Remembers what functions of a world returned and changed. It keeps everything: it lives as long as one search."""

    def __init__(self) -> None:
        self._known: dict[Hashable, _Look | _Outcome] = {}

    def of(self, what: Hashable, world: World, function: Callable[[World], Any]) -> tuple[Any, dict[Any, Any]]:
        """Return what the function returns, and the world after it.

        `what` says all that its result depends on beside the world. What it raises is not remembered.
        """
        following: dict[Any, _Look | _Outcome] = self._known
        branch: Any = what
        while (known := following.get(branch)) is not None:
            if isinstance(known, _Outcome):
                return known.result, apply(known.changes, world)
            following, branch = known.following, _look(world, known.place)
        observed = Observed(world)
        outcome = _Outcome(function(observed), observed.changes)
        self._remember(what, observed.seen, outcome)
        return outcome.result, apply(outcome.changes, world)

    def _remember(self, what: Hashable, seen: dict[Any, Any], outcome: _Outcome) -> None:
        following, branch = self._known, what
        for place, value in seen.items():
            known = following.setdefault(branch, _Look(place))
            assert isinstance(known, _Look), f"{what}: ended once before it looked at {place}"
            assert known.place == place, f"{what}: looked at {known.place} once, and at {place} now"
            following, branch = known.following, value
        following[branch] = outcome


def _look(world: World, place: Any) -> Any:
    return frozenset(world.items()) if place is _EVERYTHING else world.get(place, _NOTHING)
