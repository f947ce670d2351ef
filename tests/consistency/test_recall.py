"""A search that remembers goes through what one that does not goes through: the same states, the same violation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from consistency.caller_programs import CALLER_PROGRAMS
from consistency.explorer import Search
from consistency.mutants import MUTANTS
from consistency.processes import Site
from consistency.programs import PROGRAMS
from consistency.recall import Recall
from consistency.replay_programs import REPLAY_PROGRAMS
from consistency.write_programs import WRITE_PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from consistency.actors import World

# One of every kind: embedded records and losses, writers that die, claims and time, a replay.
SMALL = {**PROGRAMS, **WRITE_PROGRAMS, **CALLER_PROGRAMS, **REPLAY_PROGRAMS}
NAMES = ["epochs", "crash", "frozen", "shared by processes", "replay of a partition"]


class Forgetful(Recall):
    """Takes every step anew."""

    def of(self, what: Hashable, world: World, function: Callable[[World], Any]) -> tuple[Any, dict[Any, Any]]:
        del what
        after = dict(world)
        return function(after), after


@pytest.mark.parametrize("name", NAMES)
def test_a_search_that_remembers_sees_what_one_that_forgets_sees(name: str) -> None:
    build = SMALL[name]
    remembering, forgetting = Search(build(Site())).run(), Search(build(Site()), Forgetful()).run()
    remembering.seconds = forgetting.seconds = 0.0
    assert remembering == forgetting


def test_it_finds_a_planted_bug_after_the_same_steps() -> None:
    mutant = next(one for one in MUTANTS if one.program == "plain")
    build = SMALL[mutant.program]
    with mutant.planted():
        site = Site(**dict(mutant.site))
        remembering, forgetting = Search(build(site)).run(), Search(build(site), Forgetful()).run()
    assert remembering.violation
    assert (remembering.violation, remembering.schedule) == (forgetting.violation, forgetting.schedule)


class Counted:
    """A function of a world that says how often it was called."""

    def __init__(self, function: Callable[[World], Any]) -> None:
        self._function = function
        self.calls = 0

    def __call__(self, world: World) -> Any:
        self.calls += 1
        return self._function(world)


def _moves(world: World) -> Any:
    if "old" not in world:
        return None
    world["new"] = world.pop("old")
    world["new"] += 1
    return world["new"], world.setdefault("fallback", 7)


def test_a_world_that_differs_where_nobody_looks_is_the_same() -> None:
    recall, moves = Recall(), Counted(_moves)
    assert recall.of("moves", {"old": 1, "elsewhere": 1}, moves) == ((2, 7), {"new": 2, "fallback": 7, "elsewhere": 1})
    assert recall.of("moves", {"old": 1, "elsewhere": 2}, moves) == ((2, 7), {"new": 2, "fallback": 7, "elsewhere": 2})
    assert moves.calls == 1


@pytest.mark.parametrize("world", [{}, {"old": None}, {"old": 2}, {"old": 1, "fallback": 1}])
def test_a_world_that_differs_where_it_is_looked_at_is_another(world: dict[str, Any]) -> None:
    recall, moves = Recall(), Counted(lambda world: (world.get("old"), world.get("fallback")))
    recall.of("looks", {"old": 1}, moves)
    assert recall.of("looks", world, moves) == ((world.get("old"), world.get("fallback")), world)
    assert moves.calls == 2


def test_who_goes_through_all_places_has_looked_at_all() -> None:
    recall, counts = Recall(), Counted(lambda world: (world.pop("a", None), sorted(world)))
    assert recall.of("counts", {"a": 1, "b": 1}, counts) == ((1, ["b"]), {"b": 1})
    assert recall.of("counts", {"a": 1, "b": 1, "c": 1}, counts) == ((1, ["b", "c"]), {"b": 1, "c": 1})
    assert counts.calls == 2
    assert recall.of("counts", {"b": 1, "a": 1}, counts)[0] == (1, ["b"])
    assert counts.calls == 2


def test_a_function_of_something_else_than_was_said_is_told_apart() -> None:
    recall, place = Recall(), iter("ab")
    recall.of("looks", {"a": 1}, lambda world: world.get(next(place)))
    with pytest.raises(AssertionError, match="looked at a once, and at b now"):
        recall.of("looks", {"a": 2}, lambda world: world.get(next(place)))
