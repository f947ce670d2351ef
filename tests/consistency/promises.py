"""What the cache promises, as facts kept beside the world of a search, and checks of answers against them.

A fact is recorded in the same breath as the step it belongs to, always on the side that makes the promise harder: a
call begins just before its first step, and is over right after its last.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple

from consistency import takeovers
from consistency.actors import Violation, World

MAX_LAG = 10.0


class Call(NamedTuple):
    """One call to the origin, and the records its answer is made of."""

    name: str
    records: tuple[str, ...]


class Death(NamedTuple):
    """From `since` on, what this call brought must not be served: an invalidation that began after it was confirmed."""

    call: str
    since: float
    process: str


class Floor(NamedTuple):
    """From `since` on, no answer may hold an older version of this object: a write of it was answered."""

    record: str
    version: int
    since: float
    process: str


class Start(NamedTuple):
    """What was promised when a read began."""

    time: float
    deaths: frozenset[Death]
    floors: frozenset[Floor]


def new_world(*records: str) -> World:
    """Return a world in which nothing is cached and every object has its version 0."""
    versions = {("origin", record): 0 for record in records}
    none: frozenset[Any] = frozenset()
    return {"time": 0.0, "calls": none, "deaths": none, "floors": none, "excused": none, **versions}


def call_started(world: World, call: Call) -> None:
    world["calls"] |= {call}


def origin_answers(world: World, records: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    return tuple((record, world["origin", record]) for record in records)


def origin_changes(world: World, record: str) -> int:
    world["origin", record] += 1
    version: int = world["origin", record]
    return version


def invalidation_begins(world: World, process: str, records: tuple[str, ...]) -> None:
    world["doomed", process] = calls_with(world, *records)


def invalidation_confirmed(world: World, process: str) -> None:
    died = {Death(call, world["time"], process) for call in world.pop(("doomed", process))}
    world["deaths"] |= died
    takeovers.confirmed(world, process, died)


def invalidation_failed(world: World, process: str) -> None:
    """Promise it to the process that knows of it, and to nobody else: it has debts now."""
    died = frozenset(Death(call, world["time"], process) for call in world.pop(("doomed", process), ()))
    world["own", process] = world.get(("own", process), frozenset()) | died


def write_takes_effect(world: World, process: str, record: str) -> int:
    world["unanswered", process] = calls_with(world, record)
    return origin_changes(world, record)


def late_write_takes_effect(world: World, process: str, record: str) -> None:
    """Take note that Stripe performs a write whose caller has given up: all that was fetched before is dead now."""
    origin_changes(world, record)
    world["deaths"] |= {Death(call, world["time"], process) for call in calls_with(world, record)}


def calls_with(world: World, *records: str) -> frozenset[str]:
    """Name the calls so far whose answers are made of any of these."""
    return frozenset(call.name for call in world["calls"] if not set(records).isdisjoint(call.records))


def write_answered(world: World, process: str, record: str, version: int, *, told: bool) -> None:
    """Promise the write to everybody, or, if a tier could not be told, to its own process."""
    del world["unanswered", process]
    world["floors"] |= {Floor(record, version, world["time"], process if not told else "")}
    if told:
        world["floors"] |= {Floor(record, version, world["time"], f"own {process}")}


def writer_died(process: str, world: World) -> None:
    """Take note that a writer died: if its write took effect, nothing fetched before it did may be served again."""
    calls = world.pop(("unanswered", process), frozenset())
    world["deaths"] |= {Death(call, world["time"], process) for call in calls}


def read_begins(world: World, process: str) -> None:
    promised = now(world)
    world["reading", process] = promised._replace(deaths=promised.deaths | world.get(("own", process), frozenset()))


def now(world: World) -> Start:
    """Return what is promised to everybody who reads from here on."""
    return Start(world["time"], world["deaths"] - world["excused"], world["floors"])


def body_of(call: Call, versions: tuple[tuple[str, int], ...]) -> bytes:
    """Make the answer a call brings: an object with the others inside, and what the checks want to know of it."""
    own, *inside = call.records
    found: dict[str, Any] = {"id": own, "object": "thing", "metadata": {"call": call.name, "versions": dict(versions)}}
    return json.dumps(found | {one: {"id": one, "object": "customer"} for one in inside}).encode()


@cache
def _said(body: bytes) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(body)["metadata"]
    return said


def process_of(actor: str) -> str:
    """Return the process that an actor is a thread of: what stands before a slash, if there is one."""
    return actor.partition("/")[0]


def read_ends(world: World, process: str, tier: str, body: bytes) -> None:
    """Check an answer a tier gave against what was promised when the read began."""
    start: Start = world.pop(("reading", process))
    check(process, tier, body, start)


def read_ends_at_origin(world: World, process: str) -> None:
    del world["reading", process]


def check(process: str, tier: str, body: bytes, start: Start) -> None:
    """Raise Violation if the promises forbid this answer."""
    call, held = _said(body)["call"], _said(body)["versions"]
    # A process's memory may lag behind what another process was told, and behind nothing else.
    grace = MAX_LAG if tier == "memory" else 0.0
    for death in start.deaths:
        lag = 0.0 if process_of(death.process) == process_of(process) else grace
        if death.call == call and start.time >= death.since + lag:
            raise Violation(
                f"{tier} serves the answer of call {call} to {process}, invalidated since by {death.process}"
            )
    for floor in start.floors:
        if floor.process not in {"", process, f"own {process}"} or floor.record not in held:
            continue
        lag = grace if floor.process == "" else 0.0
        if held[floor.record] < floor.version and start.time >= floor.since + lag:
            raise Violation(
                f"{tier} serves {floor.record} version {held[floor.record]} to {process} after the answer to the write "
                f"of version {floor.version}"
            )
