"""Programs of writers: they answer, die, cannot reach a tier, or give up before Stripe has performed the write."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from consistency.actors import FAILS
from consistency.model import evict, flush
from consistency.processes import CUSTOMER, SUBSCRIPTION, Site
from consistency.programs import PLAIN, TWO, Builder, Script, invalidate, program, read

if TYPE_CHECKING:
    from consistency.explorer import Nature, Program
    from consistency.processes import Process


def write(record: str) -> Script:
    return lambda process: process.write(record)


def write_then_read(record: str, then: str) -> Script:
    def script(process: Process) -> None:
        process.write(record)
        process.read(then)

    return script


def _write(site: Site) -> Program:
    scripts = {"W": write(CUSTOMER), "R": read(SUBSCRIPTION), "Q": read(CUSTOMER)}
    return program("a write, two fills", replace(site, versions=True), scripts)


def _crash(site: Site) -> Program:
    scripts = {"W": write(CUSTOMER), "R": read(SUBSCRIPTION)}
    return program("a writer dies", replace(site, versions=True), scripts, mortal=("W",), happenings=1)


def _two_writers(site: Site) -> Program:
    site = replace(site, versions=True, watched=PLAIN)
    scripts = {"W": lambda process: process.die_in_write(CUSTOMER), "V": write(CUSTOMER), "R": read(CUSTOMER)}
    return program("two writers, one dies", site, scripts, begun=True)


def _write_outage(site: Site) -> Program:
    site = replace(site, versions=True, shared=TWO, watched=PLAIN)
    scripts = {"W": write_then_read(CUSTOMER, CUSTOMER), "R": read(CUSTOMER)}
    return program(
        "a writer cannot reach DynamoDB",
        site,
        scripts,
        faults=(FAILS,),
        fault_budget=2,
        unlucky=("W: announce in dynamodb",),
        cached=("dynamodb",),
    )


def _late_write(site: Site) -> Program:
    scripts = {
        "W": lambda process: process.write_without_an_answer(CUSTOMER),
        "Stripe": lambda process: process.perform(CUSTOMER),
        "R": read(SUBSCRIPTION),
        "Q": read(CUSTOMER),
    }
    return program("a write takes effect after its caller gave up", site, scripts)


def _late_write_embedded(site: Site) -> Program:
    scripts = {
        "W": lambda process: process.write_without_an_answer(CUSTOMER),
        "Stripe": lambda process: process.perform(CUSTOMER),
        "R": read(SUBSCRIPTION),
    }
    return program("the same, over two tiers", replace(site, shared=TWO), scripts)


def _hold_lost(site: Site) -> Program:
    scripts = {"W": lambda process: process.die_in_write(CUSTOMER), "R": read(CUSTOMER), "Q": read(CUSTOMER)}
    return program(
        "a hold is lost in one of two tiers",
        replace(site, versions=True, shared=TWO, watched=PLAIN),
        scripts,
        nature=_losses_of_a_hold(),
        happenings=1,
        begun=True,
    )


def _embedded_hold_lost(site: Site) -> Program:
    scripts = {"W": lambda process: process.die_in_write(CUSTOMER), "R": read(SUBSCRIPTION), "Q": read(SUBSCRIPTION)}
    return program(
        "a hold of what is embedded is lost in one",
        replace(site, versions=True, shared=TWO),
        scripts,
        nature=_losses_of_a_hold(),
        happenings=1,
        begun=True,
    )


def _losses_of_a_hold() -> tuple[Nature, ...]:
    return *(evict(tier, CUSTOMER) for tier in TWO), flush("redis")


def _all_three(site: Site) -> Program:
    scripts = {"R": read(SUBSCRIPTION), "W": write(CUSTOMER), "I": invalidate(CUSTOMER)}
    return program("a fill that embeds, a write, an invalidation", replace(site, versions=True), scripts)


def _all_three_dying(site: Site) -> Program:
    scripts = {"R": read(SUBSCRIPTION), "W": write(CUSTOMER), "I": invalidate(CUSTOMER)}
    site = replace(site, versions=True)
    return program("the same, the writer dies", site, scripts, mortal=("W",), happenings=1)


WRITE_PROGRAMS: dict[str, Builder] = {
    "crash": _crash,
    "two writers": _two_writers,
    "hold lost": _hold_lost,
    "all three": _all_three,
    "all three, dying": _all_three_dying,
    "embedded hold lost": _embedded_hold_lost,
    "late write": _late_write,
    "write": _write,
    "outage of a write": _write_outage,
    "late write, two tiers": _late_write_embedded,
}
