"""Programs in which all that is stored is past its freshness: answers that stand in for Stripe's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from consistency.model import flush
from consistency.processes import CUSTOMER, SUBSCRIPTION, Process, Site
from consistency.programs import PLAIN, TWO, Builder, Script, invalidate, program, read, tick

if TYPE_CHECKING:
    from consistency.explorer import Program

    from stripe_cache.core.plan import Plan


class Queue:
    """Somewhere to ask for refreshes, which never come: the entry stays what it is."""

    def request(self, plan: Plan) -> bool:
        del plan
        return True


def _fails(record: str, times: int = 1) -> Script:
    """Fill, and then read while Stripe fails."""

    def script(process: Process) -> None:
        process.read(record)
        for _ in range(times):
            process.read(record, stripe_fails=True)

    return script


def _if_error(site: Site) -> Program:
    scripts = {"R": _fails(SUBSCRIPTION), "Q": read(SUBSCRIPTION), "I": invalidate(CUSTOMER)}
    return program("stale: Stripe fails", replace(site, stale=True), scripts)


def _if_error_memory(site: Site) -> Program:
    site = replace(site, stale=True, memory=True, watched=PLAIN)
    scripts = {"R": _fails(CUSTOMER, 2), "I": invalidate(CUSTOMER)}
    return program("stale: Stripe fails, a memory", site, scripts, nature=(tick(12.0, 1),), happenings=1)


def _while_revalidating(site: Site) -> Program:
    site = replace(site, stale=True, options=(("refresher", Queue()),))
    scripts = {"R": read(SUBSCRIPTION, 2), "I": invalidate(CUSTOMER)}
    return program("stale: a refresh is on its way", site, scripts, nature=(flush("redis"),), happenings=1)


def _in_vain(site: Site) -> Program:
    site = replace(site, stale=True, shared=TWO, options=(("rests", lambda _: True),))
    scripts = {"R": read(SUBSCRIPTION, 2), "I": invalidate(CUSTOMER)}
    return program("stale: a call would be in vain", site, scripts, nature=(flush("redis"),), happenings=1)


STALE_PROGRAMS: dict[str, Builder] = {
    "stale if error": _if_error,
    "stale if error, memory": _if_error_memory,
    "stale while revalidating": _while_revalidating,
    "stale in vain": _in_vain,
}
