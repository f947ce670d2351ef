"""The programs that are explored: each a few processes, and what nature may do to them meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from consistency import promises
from consistency.actors import FAILS, LOST, Actor, World
from consistency.explorer import Nature, Program
from consistency.model import evict, flush
from consistency.processes import CUSTOMER, SUBSCRIPTION, Onlooker, Process, Site, no_dead_value

Script = Callable[[Process], None]
Builder = Callable[[Site], Program]

ONE: tuple[str, ...] = ("redis",)
TWO = ("redis", "dynamodb")


def read(record: str, times: int = 1) -> Script:
    def script(process: Process) -> None:
        for _ in range(times):
            process.read(record)

    return script


def invalidate(record: str) -> Script:
    return lambda process: process.invalidate(record)


def losses(*tiers: str, records: tuple[str, ...] = (CUSTOMER, SUBSCRIPTION)) -> tuple[Nature, ...]:
    """Return every way to lose something in these tiers."""
    return tuple(nature for tier in tiers for nature in (flush(tier), *(evict(tier, one) for one in (*records, "#"))))


def tick(seconds: float, limit: int) -> Nature:
    def effect(world: World) -> bool:
        world["time"] += seconds
        return True

    return Nature(f"{seconds:g} s pass", effect, limit)


def freeze(process: str, seconds: float) -> Nature:
    """Time passes, but not on this process's monotonic clock: its sandbox was frozen."""

    def effect(world: World) -> bool:
        world["time"] += seconds
        world["frozen", process] = world.get(("frozen", process), 0.0) + seconds
        return True

    return Nature(f"{process} is frozen for {seconds:g} s", effect)


def set_back(process: str, seconds: float) -> Nature:
    def effect(world: World) -> bool:
        world["wall", process] = world.get(("wall", process), 0.0) - seconds
        return True

    return Nature(f"the wall clock of {process} is set back by {seconds:g} s", effect)


def program(
    name: str,
    site: Site,
    scripts: dict[str, Script],
    *,
    nature: tuple[Nature, ...] = (),
    happenings: int = 0,
    faults: tuple[str, ...] = (),
    fault_budget: int = 0,
    unlucky: tuple[str, ...] | None = None,
    mortal: tuple[str, ...] = (),
    cached: tuple[str, ...] = (),
    begun: bool = False,
    kind: type[Process] = Process,
    prepare: Callable[[World], None] = lambda _: None,
    invariant: Callable[[Site, World], None] = no_dead_value,
) -> Program:
    """Put a program together.

    From the start, the tiers in `cached` hold CUSTOMER, refilled once; if `begun`, a writer has begun to write it.
    `prepare` does what else was before. The actors are processes of this `kind`.
    """

    def world() -> World:
        new = promises.new_world(CUSTOMER, SUBSCRIPTION)
        if cached:
            before = Process(Onlooker("before", new, []), site)
            before.invalidate(CUSTOMER)
            before.read(CUSTOMER)
        for tier in set(site.shared) - set(cached):
            flush(tier).effect(new)
        if begun:
            Process(Onlooker("begun", new, []), site).begin_write(CUSTOMER)
        prepare(new)
        return new

    def actor(script: Script) -> Callable[[Actor], None]:
        return lambda running: script(kind(running, site))

    return Program(
        name,
        {one: actor(script) for one, script in scripts.items()},
        world,
        nature,
        happenings,
        faults,
        fault_budget,
        ("",) if unlucky is None else unlucky,
        {one: partial(promises.writer_died, one) for one in mortal},
        partial(invariant, site),
    )


PLAIN = (CUSTOMER,)


def _plain(site: Site) -> Program:
    site = replace(site, watched=PLAIN)
    scripts = {"R": read(CUSTOMER), "Q": read(CUSTOMER), "I": invalidate(CUSTOMER)}
    return program(
        "two fills, an invalidation, a loss", site, scripts, nature=losses("redis", records=PLAIN), happenings=1
    )


def _embedded(site: Site) -> Program:
    scripts = {"R": read(SUBSCRIPTION), "Q": read(SUBSCRIPTION), "I": invalidate(CUSTOMER)}
    return program("two fills that embed, an invalidation", site, scripts)


def _lossy(site: Site) -> Program:
    scripts = {"R": read(SUBSCRIPTION), "I": invalidate(CUSTOMER)}
    return program("a fill that embeds, two losses", site, scripts, nature=losses("redis"), happenings=2)


def _epochs(site: Site) -> Program:
    scripts = {"R": read(SUBSCRIPTION), "I": invalidate(CUSTOMER)}
    nature = losses("redis", records=())
    return program("a fill that embeds, a lost counter", site, scripts, nature=nature, happenings=2, cached=("redis",))


def _two_tiers(site: Site) -> Program:
    site = replace(site, shared=TWO, watched=PLAIN)
    scripts = {"R": read(CUSTOMER), "I": invalidate(CUSTOMER)}
    nature = losses(*TWO, records=PLAIN)
    return program(
        "two tiers, a copy upwards, a loss", site, scripts, nature=nature, happenings=1, cached=("dynamodb",)
    )


def _two_tiers_embedded(site: Site) -> Program:
    scripts = {"R": read(SUBSCRIPTION), "I": invalidate(CUSTOMER)}
    nature = losses(*TWO)
    return program(
        "two tiers, a fill that embeds, a loss", replace(site, shared=TWO), scripts, nature=nature, happenings=1
    )


def _outage(site: Site) -> Program:
    site = replace(site, shared=TWO, watched=PLAIN)
    scripts = {"R": read(CUSTOMER), "I": invalidate(CUSTOMER)}
    return program("two tiers, a step fails or its answer is lost", site, scripts, faults=(FAILS, LOST), fault_budget=1)


def _memory(site: Site) -> Program:
    site = replace(site, memory=True, watched=PLAIN)
    scripts = {"R": read(CUSTOMER, 3), "I": invalidate(CUSTOMER)}
    return program("memory, time passes", site, scripts, nature=(tick(6.0, 3),), happenings=3, cached=("redis",))


def _memory_frozen(site: Site) -> Program:
    site = replace(site, memory=True, watched=PLAIN)
    scripts = {"R": read(CUSTOMER, 3), "I": invalidate(CUSTOMER)}
    nature = (tick(6.0, 2), freeze("R", 20.0))
    return program("memory, a freeze", site, scripts, nature=nature, happenings=3)


def _memory_set_back(site: Site) -> Program:
    site = replace(site, memory=True, watched=PLAIN)
    scripts = {"R": read(CUSTOMER, 3), "I": invalidate(CUSTOMER)}
    nature = (tick(6.0, 2), set_back("R", 12.0))
    return program("memory, a clock set back", site, scripts, nature=nature, happenings=3)


def _memory_lossy(site: Site) -> Program:
    site = replace(site, memory=True, watched=PLAIN)
    scripts = {"R": read(CUSTOMER, 3), "I": invalidate(CUSTOMER)}
    nature = (tick(12.0, 1), *losses("redis", records=PLAIN))
    return program("memory, a loss", site, scripts, nature=nature, happenings=2, cached=("redis",))


def _everything(site: Site) -> Program:
    scripts = {"R": read(SUBSCRIPTION), "I": invalidate(CUSTOMER)}
    return program(
        "a fill that embeds, losses and faults",
        site,
        scripts,
        nature=losses("redis"),
        happenings=2,
        faults=(FAILS, LOST),
        fault_budget=2,
        cached=("redis",),
    )


def _two_tiers_three(site: Site) -> Program:
    site = replace(site, shared=TWO, watched=PLAIN)
    scripts = {"R": read(CUSTOMER), "Q": read(CUSTOMER), "I": invalidate(CUSTOMER)}
    return program("two tiers, two fills, an invalidation", site, scripts)


PROGRAMS: dict[str, Builder] = {
    "plain": _plain,
    "embedded": _embedded,
    "lossy": _lossy,
    "epochs": _epochs,
    "two tiers": _two_tiers,
    "two tiers embedded": _two_tiers_embedded,
    "outage": _outage,
    "memory": _memory,
    "two tiers, three processes": _two_tiers_three,
}
SLOW: dict[str, Builder] = {
    "memory frozen": _memory_frozen,
    "memory set back": _memory_set_back,
    "memory lossy": _memory_lossy,
    "everything": _everything,
}
