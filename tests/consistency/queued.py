"""What is promised of an invalidation that was put into an outbox, as facts kept beside the world of a search.

Each entry is owed until it is forgotten: in every state it stands somewhere. From the very step that forgets it, what
it was about is dead for everybody, as after an invalidation that was confirmed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from consistency.actors import Violation
from consistency.processes import no_dead_value
from consistency.promises import Death

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consistency.actors import World
    from consistency.processes import Site


class Owed(NamedTuple):
    """An entry by its place and words, and the calls whose answers are dead when it is forgotten."""

    place: str
    entry: str
    doomed: frozenset[str]


def kept(world: World, process: str, place: str, entries: Iterable[str]) -> None:
    """Take note, in the breath in which they become durable, of entries about what this process could not tell."""
    _has_put(world, process)
    doomed = world.get(("doomed", process)) or world.get(("unanswered", process), frozenset())
    world["owed"] = world.get("owed", frozenset()) | {Owed(place, entry, doomed) for entry in entries}


def replaced(world: World, process: str, place: str, old: str, new: str) -> None:
    """Take note that an entry for everything stands for another one too."""
    _has_put(world, process)
    doomed = _doomed(world, place, [old]) | world["doomed", process]
    world["owed"] = _without(world, place, [old]) | {Owed(place, new, doomed)}


def forgotten(world: World, process: str, place: str, entries: Iterable[str]) -> None:
    """Promise what these entries were about to everybody."""
    gone = list(entries)
    died = {Death(call, world["time"], process) for call in _doomed(world, place, gone)}
    world["owed"] = _without(world, place, gone)
    world["deaths"] |= died


def received(world: World, process: str, place: str, entries: Iterable[str]) -> None:
    """Take note that this process tells of them now, or puts them elsewhere."""
    world["doomed", process] = _doomed(world, place, list(entries))
    world["moves", process] = False


def deleted(world: World, process: str, place: str, entry: str) -> None:
    """Promise what the entry was about, if this process told of it and did not put it elsewhere."""
    if world.pop(("moves", process)):
        world["owed"] = _without(world, place, [entry])
    else:
        forgotten(world, process, place, [entry])


def must_be_kept(world: World, process: str) -> None:
    """Check that what this process takes for queued is durable somewhere, or dead already."""
    owed = frozenset().union(*(one.doomed for one in world.get("owed", ())), (death.call for death in world["deaths"]))
    if lost := world["doomed", process] - owed:
        raise Violation(f"{process} takes it for queued, and nobody keeps it: the answer of call {min(lost)} stays")


def nothing_lost(site: Site, world: World) -> None:
    """Check that all that is owed stands somewhere, and that no tier holds what was promised to be dead."""
    for place, entry, _ in world.get("owed", ()):
        if entry not in world.get(("kept", place), ()):
            raise Violation(f"{entry[:60]} was in {place}, and is lost without having been told")
    no_dead_value(site, world)


def _has_put(world: World, process: str) -> None:
    if ("moves", process) in world:
        world["moves", process] = True


def _doomed(world: World, place: str, entries: list[str]) -> frozenset[str]:
    found = [one.doomed for one in world.get("owed", ()) if one.place == place and one.entry in entries]
    return frozenset().union(*found)


def _without(world: World, place: str, entries: list[str]) -> frozenset[Owed]:
    return frozenset(one for one in world.get("owed", ()) if one.place != place or one.entry not in entries)
