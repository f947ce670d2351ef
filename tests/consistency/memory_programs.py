"""Programs of processes with a memory: own writes, embedded records, a silent witness, two tiers, threads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from consistency.actors import FAILS, LOST
from consistency.model import evict, flush
from consistency.near_model import SharedMemory
from consistency.processes import CUSTOMER, NAMESPACE, SUBSCRIPTION, Process, Site
from consistency.programs import PLAIN, TWO, Builder, Script, invalidate, losses, program, read, tick

if TYPE_CHECKING:
    from consistency.explorer import Program

_LATER = tick(12.0, 1)
"""More than the lag that is allowed."""


def around(record: str, then: str, change: str = "write") -> Script:
    """Read, change the record, and read again."""

    def script(process: Process) -> None:
        process.read(then)
        getattr(process, change)(record)
        process.read(then)

    return script


def after_a_look(record: str) -> Script:
    """Ask for the counter, as a read of something else does, and read twice by what it said."""

    def script(process: Process) -> None:
        process.near._counter(process.shared[0], NAMESPACE)
        process.read(record)
        process.read(record)

    return script


def _own_write(site: Site) -> Program:
    site = replace(site, versions=True, memory=True, watched=PLAIN)
    scripts = {"R": around(CUSTOMER, CUSTOMER), "I": invalidate(CUSTOMER)}
    return program("memory, a write of its own", site, scripts, nature=(_LATER,), happenings=1)


def _embedded(site: Site) -> Program:
    scripts = {"R": around(CUSTOMER, SUBSCRIPTION, "invalidate"), "J": invalidate(CUSTOMER)}
    return program("memory, what it embeds", replace(site, memory=True), scripts, nature=(_LATER,), happenings=1)


def _embedded_lossy(site: Site) -> Program:
    scripts = {"R": read(SUBSCRIPTION, 2), "I": invalidate(CUSTOMER)}
    nature = (_LATER, *losses("redis"))
    return program("memory, what it embeds, a loss", replace(site, memory=True), scripts, nature=nature, happenings=2)


def _silent(site: Site) -> Program:
    return program(
        "memory, its witness is silent",
        replace(site, memory=True, watched=PLAIN),
        {"R": read(CUSTOMER, 3), "I": invalidate(CUSTOMER)},
        nature=(_LATER,),
        happenings=1,
        faults=(FAILS, LOST),
        fault_budget=1,
        unlucky=("R",),
        cached=("redis",),
    )


def _two_tiers(site: Site) -> Program:
    return program(
        "memory, two tiers, a loss",
        replace(site, memory=True, shared=TWO, watched=PLAIN),
        {"R": read(CUSTOMER, 2), "I": invalidate(CUSTOMER)},
        nature=(_LATER, flush("redis"), evict("dynamodb", CUSTOMER)),
        happenings=2,
        cached=("dynamodb",),
    )


def _threads(site: Site) -> Program:
    site = replace(site, memory=True, near_tier=SharedMemory, watched=PLAIN)
    scripts = {"P/A": after_a_look(CUSTOMER), "P/B": invalidate(CUSTOMER)}
    return program("memory, shared by two threads", site, scripts, cached=("redis",))


MEMORY_PROGRAMS: dict[str, Builder] = {
    "own write": _own_write,
    "memory embedded": _embedded,
    "memory embedded lossy": _embedded_lossy,
    "memory silent": _silent,
    "memory two tiers": _two_tiers,
    "memory threads": _threads,
}
