"""Programs of events that are delivered twice, late or in another order, and of the marks that spare the second time.

Whoever says that an event was applied, now or before, promises that what was fetched before the change is gone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consistency import queued
from consistency.actors import FAILS, LOST
from consistency.messengers import Messenger
from consistency.model import flush
from consistency.processes import CUSTOMER, Site
from consistency.programs import ONE, PLAIN, TWO, Builder, program, read
from consistency.replay_programs import crashes, deliver, replay

if TYPE_CHECKING:
    from consistency.explorer import Program
    from consistency.replay_programs import Script

FIRST, SECOND = "evt_1", "evt_2"


def change(*events: str) -> Script:
    """Be Stripe: change the customer once for each event."""

    def script(process: Messenger) -> None:
        for event in events:
            process.change(CUSTOMER, event)

    return script


def deliver_in_turn(*events: str) -> Script:
    def script(process: Messenger) -> None:
        for event in events:
            process.deliver(CUSTOMER, event)

    return script


def sweep(*events: str) -> Script:
    return lambda process: process.sweep(CUSTOMER, *events)


def _site(site: Site, shared: tuple[str, ...], places: tuple[str, ...] = ()) -> Site:
    return replace(site, shared=shared, watched=PLAIN, places=places, marks=True)


def _program(name: str, site: Site, scripts: dict[str, Script], mortal: tuple[str, ...] = (), **how: Any) -> Program:
    made = program(name, site, scripts, kind=Messenger, invariant=queued.nothing_lost, **how)
    return replace(made, crashes=crashes(*mortal))


_TWICE = {"Stripe": change(FIRST), "D": deliver(CUSTOMER, FIRST), "E": deliver(CUSTOMER, FIRST)}


def _twice(site: Site) -> Program:
    return _program(
        "an event is delivered twice, and a step fails",
        _site(site, ONE),
        _TWICE,
        ("D",),
        cached=ONE,
        happenings=1,
        faults=(FAILS, LOST),
        fault_budget=1,
        unlucky=("D",),
    )


def _twice_two_tiers(site: Site) -> Program:
    return _program(
        "the same, over two tiers",
        _site(site, TWO),
        _TWICE,
        ("D",),
        cached=TWO,
        happenings=1,
        faults=(FAILS,),
        fault_budget=1,
        unlucky=("D: announce in redis", "D: void cus_1 in redis"),
    )


def _twice_and_a_fill(site: Site) -> Program:
    return _program(
        "an event is delivered twice, a fill", _site(site, ONE), {**_TWICE, "R": read(CUSTOMER)}, cached=ONE
    )


def _queued(site: Site) -> Program:
    return _program(
        "an event is queued, and delivered again",
        _site(site, TWO, ("table",)),
        {**_TWICE, "P": replay()},
        cached=("redis",),
        faults=(FAILS, LOST),
        fault_budget=1,
        unlucky=("D: announce in redis", "D: void cus_1 in redis"),
    )


def _reordered(site: Site) -> Program:
    scripts = {
        "Stripe": change(FIRST, SECOND),
        "D": deliver_in_turn(FIRST),
        "E": deliver_in_turn(SECOND, FIRST),
        "R": read(CUSTOMER),
    }
    return _program("two events of a record, out of order and again", _site(site, ONE), scripts, cached=ONE)


def _swept(site: Site) -> Program:
    scripts = {"Stripe": change(FIRST, SECOND), "D": deliver(CUSTOMER, FIRST), "S": sweep(FIRST, SECOND)}
    return _program(
        "a sweep and a delivery, Redis is flushed",
        _site(site, ONE),
        scripts,
        ("S",),
        cached=ONE,
        nature=(flush("redis"),),
        happenings=1,
        faults=(FAILS,),
        fault_budget=1,
        unlucky=("S", "D: void"),
    )


SEEN_PROGRAMS: dict[str, Builder] = {
    "delivered twice": _twice,
    "delivered twice, a fill": _twice_and_a_fill,
    "delivered twice, queued": _queued,
    "swept": _swept,
}
SLOW_SEEN_PROGRAMS: dict[str, Builder] = {
    "delivered twice, two tiers": _twice_two_tiers,
    "delivered out of order": _reordered,
}
