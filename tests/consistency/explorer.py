"""Runs a small concurrent program in every order its steps can be taken in, and stops at the first wrong one.

A state is two values: what the world holds, and what each actor has been told. States reached in different orders are
recognised as the same one, so the search covers all orders although it visits each state once. A step that was taken
before in a world that looks the same to it is remembered, not taken again (see recall.py). The search goes breadth
first: the first violation it meets is one of the shortest.
"""

from __future__ import annotations

import gc
import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from consistency.actors import OK, Actor, Suspended, Violation, World
from consistency.recall import Recall

from stripe_cache.core import claims, protocol
from stripe_cache.tiers import outbox_dynamodb
from stripe_cache.tiers import redis as redis_tier

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator


_RANDOM: tuple[Any, ...] = (protocol, claims, redis_tier, outbox_dynamodb)
"""Modules that draw random words, which would make each run of an actor another one."""


_BETWEEN_TIDYINGS = 2000
"""Runs of actors after which garbage is looked for."""

_RESCUES = 4
"""How often one thing may happen because nobody can go on; who still waits then waits for ever."""


@dataclass(frozen=True)
class Nature:
    """Something that may happen between any two steps, `limit` times per run: a flush, an eviction, a tick."""

    label: str
    effect: Callable[[World], bool]
    """Change the world; return False if there is nothing to change."""
    limit: int = 1
    rescue: bool = False
    """Whether it also happens where nobody could go on otherwise, as the passing of time does."""


@dataclass(frozen=True)
class Program:
    """What to explore: actors, what nature may do, and how much of it per run."""

    name: str
    actors: dict[str, Callable[[Actor], None]]
    world: Callable[[], World]
    nature: tuple[Nature, ...] = ()
    happenings: int = 0
    faults: tuple[str, ...] = ()
    fault_budget: int = 0
    unlucky: tuple[str, ...] = ()
    """Which steps the faults may hit: beginnings of what a schedule calls them."""
    crashes: dict[str, Callable[[World], None]] = field(default_factory=dict)
    """Actors that may die between any two steps, and what their death means for the promises."""
    invariant: Callable[[World], None] = lambda _: None


@dataclass
class Report:
    """What a search went through. `interleavings` counts complete runs, first step to last, in every order."""

    program: str
    states: int = 0
    transitions: int = 0
    interleavings: int = 0
    longest: int = 0
    seconds: float = 0.0
    violation: str = ""
    schedule: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"{self.program:<44} {self.states:>7,} states {self.transitions:>8,} steps "
            f"{self.interleavings:>28,} interleavings of up to {self.longest:>2} steps {self.seconds:6.1f} s"
        )


@dataclass(frozen=True)
class _Path:
    label: str
    before: _Path | None

    def labels(self) -> tuple[str, ...]:
        found, path = [], self
        while path.before is not None:
            found.append(path.label)
            path = path.before
        return tuple(reversed(found))


@dataclass(frozen=True)
class _Node:
    world: World
    logs: tuple[tuple[Any, ...], ...]
    pending: tuple[Suspended | None, ...]
    used: tuple[int, ...]
    faults: int
    path: _Path


class Search:
    """One breadth-first search. Its states are layered by the number of steps, so runs can be counted exactly."""

    def __init__(self, program: Program, recall: Recall | None = None) -> None:
        self._program = program
        self._names = tuple(program.actors)
        self._happenings = (*program.nature, *(Nature(f"{name} dies", lambda _: True) for name in program.crashes))
        self._recall = recall or Recall()
        self._runs = 0
        self.report = Report(program.name)

    def run(self, most_states: int | None = None) -> Report:
        """Search until everything is explored or a promise broken; raises RuntimeError beyond `most_states`."""
        began = time.perf_counter()
        path = _Path("", None)
        random_words = [module.new_token for module in _RANDOM]
        # A search keeps what it makes: looking for garbage in all of it takes longer than the search (see _run).
        gc.disable()
        logging.disable()
        try:
            self._explore(most_states)
        except _FoundError as found:
            path = found.path
            self.report.violation = str(found.__cause__)
        finally:
            gc.enable()
            logging.disable(logging.NOTSET)
            for module, words in zip(_RANDOM, random_words, strict=True):
                module.new_token = words
        self.report.schedule = path.labels()
        self.report.seconds = time.perf_counter() - began
        return self.report

    def _explore(self, most_states: int | None) -> None:
        layer = {self._key(root): (root, 1) for root in [self._root()]}
        while layer:
            following: dict[Hashable, tuple[_Node, int]] = {}
            for node, ways in layer.values():
                ended = True
                for successor in self._successors(node):
                    ended = False
                    self.report.transitions += 1
                    key = self._key(successor)
                    known = following.get(key)
                    following[key] = (known[0], known[1] + ways) if known else (successor, ways)
                if ended:
                    self.report.interleavings += ways
            self.report.states += len(layer)
            self.report.longest += bool(following)
            if most_states is not None and self.report.states > most_states:
                raise RuntimeError(f"{self._program.name}: more than {most_states} states")
            layer = following

    def _root(self) -> _Node:
        world = self._program.world()
        logs: list[tuple[Any, ...]] = []
        pending: list[Suspended | None] = []
        for index in range(len(self._names)):
            (log, step), world = self._advance(world, index, (), None)
            logs.append(log)
            pending.append(step)
        return _Node(world, tuple(logs), tuple(pending), (0,) * len(self._happenings), 0, _Path("", None))

    def _successors(self, node: _Node) -> Iterator[_Node]:
        waiting = [name for name, step in zip(self._names, node.pending, strict=True) if step is not None]
        stuck = bool(waiting)
        for index, step in enumerate(node.pending):
            if step is None or (step.ready is not None and not step.ready(node.world)):
                continue
            stuck = False
            unlucky = f"{self._names[index]}: {step.label}".startswith(self._program.unlucky)
            allowed = [fault for fault in self._program.faults if unlucky and fault in step.faults]
            for choice in (OK, *(allowed if node.faults < self._program.fault_budget else ())):
                yield self._step(node, index, step, choice)
        left = self._program.happenings - sum(
            used for used, nature in zip(node.used, self._happenings, strict=True) if not nature.rescue
        )
        for index, nature in enumerate(self._happenings if waiting else ()):
            more = nature.limit - node.used[index]
            if (more > 0 and (left > 0 or nature.rescue)) or (stuck and nature.rescue and more > -_RESCUES):
                stuck = stuck and not nature.rescue
                yield from self._happen(node, index, nature)
        if stuck:
            raise _FoundError(node.path) from Violation(f"nobody can go on: {', '.join(waiting)}")

    def _step(self, node: _Node, index: int, step: Suspended, choice: str) -> _Node:
        path = _Path(f"{self._names[index]}: {step.label}{'' if choice == OK else f' [{choice}]'}", node.path)
        try:
            (log, following), world = self._advance(node.world, index, node.logs[index], choice)
            self._check(world)
        except Violation as violation:
            raise _FoundError(path) from violation
        return _Node(
            world,
            _replaced(node.logs, index, log),
            _replaced(node.pending, index, following),
            node.used,
            node.faults + (choice != OK),
            path,
        )

    def _happen(self, node: _Node, index: int, nature: Nature) -> Iterator[_Node]:
        world, pending = dict(node.world), node.pending
        path = _Path(nature.label, node.path)
        mortal = index - len(self._program.nature)
        if mortal >= 0:
            name = list(self._program.crashes)[mortal]
            victim = self._names.index(name)
            if pending[victim] is None:
                return
            pending = _replaced(pending, victim, None)
            self._program.crashes[name](world)
        elif not nature.effect(world):
            return
        try:
            self._check(world)
        except Violation as violation:
            raise _FoundError(path) from violation
        yield _Node(world, node.logs, pending, _replaced(node.used, index, node.used[index] + 1), node.faults, path)

    def _check(self, world: World) -> None:
        self._recall.of("invariant", world, self._program.invariant)

    def _advance(
        self, world: World, index: int, log: tuple[Any, ...], choice: str | None
    ) -> tuple[tuple[tuple[Any, ...], Suspended | None], World]:
        return self._recall.of((index, log, choice), world, partial(self._run, self._names[index], log, choice))

    def _run(
        self, name: str, log: tuple[Any, ...], choice: str | None, world: World
    ) -> tuple[tuple[Any, ...], Suspended | None]:
        self._runs += 1
        if not self._runs % _BETWEEN_TIDYINGS:
            # What a run leaves behind, its frames and failures, is among what is new since the last time.
            gc.collect(0)
        actor = Actor(name, world, list(log), choice)
        for module in _RANDOM:
            module.new_token = actor.token
        try:
            self._program.actors[name](actor)
        except Suspended as step:
            # Its traceback would keep alive all that the run has made.
            return tuple(actor.log), step.with_traceback(None)
        return tuple(actor.log), None

    def _key(self, node: _Node) -> Hashable:
        # What an actor that has ended was told matters to nobody any more.
        logs = tuple(None if step is None else log for step, log in zip(node.pending, node.logs, strict=True))
        return frozenset(node.world.items()), logs, node.used, node.faults


class _FoundError(Exception):
    def __init__(self, path: _Path) -> None:
        super().__init__(path.label)
        self.path = path


def _replaced(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])
