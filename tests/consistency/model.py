"""A tier as values: every step that a real one takes atomically is one step of the search, and no larger.

`touch` is one step per record and one more for the counter, `read`, `void` and `settle` one per record, because a
pipeline and a batch are not atomic. Records nobody else in a program looks at are handled in one step with the
first: no order of such steps can be told from another.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from consistency.actors import FAILS, LOST, Actor, World
from consistency.explorer import Nature

from stripe_cache.core.errors import TierError
from stripe_cache.core.ports import Counter, HoldChange, Reading, Slot, Stamp, State, StoreOutcome
from stripe_cache.core.protocol import kept_holds

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from stripe_cache.core.entry import Stored
    from stripe_cache.core.key import Key

_FAULTS = (FAILS, LOST)
_NO_WAY = "cannot be reached"


class Record(NamedTuple):
    """One record of one tier."""

    generation: str
    stamp: Stamp | None = None
    holds: tuple[str, ...] = ()
    values: tuple[tuple[str, Stored], ...] = ()

    def value(self, variant: str) -> Stored | None:
        return next((stored for name, stored in self.values if name == variant), None)


class ModelTier:
    """A tier of the world as one actor uses it. Subclasses plant bugs.

    Nothing is sent again here, as in DynamoDB's tier; what Redis's sends again is explored as `redis_model.py`.
    """

    def __init__(self, actor: Actor, name: str, watched: Sequence[str]) -> None:
        self._actor = actor
        self._name = name
        self._watched = frozenset(watched)

    @property
    def name(self) -> str:
        return self._name

    def read(self, namespace: str, slots: Sequence[Slot]) -> list[Reading]:
        del namespace
        return [self._point(f"read {record}", partial(self._read, record=record, key=key)) for record, key in slots]

    def touch(self, namespace: str, records: Sequence[str], token: str, ttl: float) -> tuple[list[State], Counter]:
        del namespace, ttl
        return self._touch_all(records, token), self._point("read the counter", lambda world: self._count(world, 0, 0))

    def settle(self, namespace: str, generations: Sequence[tuple[str, str]], stamp: Stamp) -> None:
        del namespace
        for record, generation in generations:
            if record in self._watched:
                self._point(
                    f"settle {record}", partial(self._settle, record=record, generation=generation, stamp=stamp)
                )

    def store(self, key: Key, generation: str, stored: Stored, ttl: float) -> StoreOutcome:
        del ttl
        effect = partial(self._store, key=key, generation=generation, stored=stored)
        outcome: StoreOutcome = self._point(f"store {key.record}", effect)
        return outcome

    def void(self, namespace: str, records: Sequence[str], token: str, change: HoldChange) -> list[str]:
        del namespace
        return [
            record
            for record in records
            if record in self._watched
            and self._point(f"void {record}", partial(self._void, record=record, token=token, change=change))
        ]

    def count(self, namespace: str, *, started: int = 0, finished: int = 0) -> Counter:
        del namespace
        what = "announce" if started else "count as finished" if finished else "read the counter"
        counter: Counter = self._point(what, partial(self._count, started=started, finished=finished))
        return counter

    def _touch_all(self, records: Sequence[str], token: str) -> list[State]:
        return [self._point(f"touch {record}", partial(self._touch, record=record, token=token)) for record in records]

    def _point(self, what: str, effect: Callable[[World], Any]) -> Any:
        return reach(self._actor, self._name, f"{what} in {self._name}", effect)

    def _read(self, world: World, record: str, key: Key | None) -> Reading:
        held = world.get((self._name, record))
        return Reading(held.generation, held.value(key.variant) if key else None) if held else Reading(None, None)

    def _touch(self, world: World, record: str, token: str) -> State:
        held = world.setdefault((self._name, record), Record(token))
        return State(held.generation, held.stamp, held.holds)

    def _settle(self, world: World, record: str, generation: str, stamp: Stamp) -> None:
        held = world.get((self._name, record))
        if held is not None and held.generation == generation and held.stamp is None:
            world[self._name, record] = held._replace(stamp=stamp)

    def _store(self, world: World, key: Key, generation: str, stored: Stored) -> StoreOutcome:
        held = world.get((self._name, key.record))
        if held is None or held.generation != generation:
            return StoreOutcome.REFUSED
        others = tuple(pair for pair in held.values if pair[0] != key.variant)
        world[self._name, key.record] = held._replace(values=(*others, (key.variant, stored)))
        return StoreOutcome.STORED

    def _void(self, world: World, record: str, token: str, change: HoldChange) -> bool:
        held = world.get((self._name, record))
        if held is None and not change.add:
            return False
        holds = kept_holds(held.holds if held else (), change, world["time"])
        world[self._name, record] = Record(token, None, tuple(sorted(holds)))
        return True

    def _count(self, world: World, started: int, finished: int) -> Counter:
        place = (self._name, "#")
        old = world.get(place)
        if old is None:
            epochs = world[self._name, "epochs"] = world.get((self._name, "epochs"), 0) + 1
            old = Counter(self._epoch(epochs), 0, 0)
        new = world[place] = Counter(old.epoch, old.started + started, old.finished + finished)
        return new

    def _epoch(self, number: int) -> str:
        return f"epoch{number}"


def reach(actor: Actor, place: str, label: str, effect: Callable[[World], Any]) -> Any:
    """Take a step in a place; raises TierError if it fails, or if the place is away for this actor at that moment."""

    def attempt(world: World) -> Any:
        return _NO_WAY if actor.name in world.get(("away", place), ()) else effect(world)

    reply = actor.point(label, attempt, _FAULTS)
    if reply == _NO_WAY:
        raise TierError(f"{place}: {_NO_WAY}")
    return reply


def goes_away(place: str, *actors: str) -> Nature:
    """Let these actors reach a place no more."""

    def effect(world: World) -> bool:
        known = ("away", place) in world
        world["away", place] = actors
        return not known

    return Nature(f"{place} goes away", effect)


def comes_back(place: str) -> Nature:
    """Let everybody reach it again, with all it held."""
    return Nature(f"{place} comes back", lambda world: world.pop(("away", place), None) is not None)


def flush(tier: str) -> Nature:
    """Lose everything a tier holds."""

    def effect(world: World) -> bool:
        lost = [place for place in world if place[0] == tier and place[1] != "epochs"]
        for place in lost:
            del world[place]
        return bool(lost)

    return Nature(f"{tier} is flushed", effect)


def evict(tier: str, record: str) -> Nature:
    """Lose one record, or the counter ('#')."""

    def effect(world: World) -> bool:
        return world.pop((tier, record), None) is not None

    return Nature(f"{tier} evicts {'the counter' if record == '#' else record}", effect)


def places(world: World, tier: str) -> dict[Hashable, Any]:
    """Return what a tier holds."""
    return {place[1]: value for place, value in world.items() if place[0] == tier and place[1] != "epochs"}
