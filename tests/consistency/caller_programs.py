"""Programs of threads that read through flights and claims; time passes where nobody could go on otherwise."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from unittest import mock

from consistency import promises
from consistency.callers import Caller
from consistency.explorer import Nature, Program
from consistency.model import ModelTier, evict
from consistency.processes import CUSTOMER, SUBSCRIPTION, Onlooker, Process, Site, no_dead_value
from consistency.programs import Builder, tick
from consistency.redis_model import redis_tier

from stripe_cache.core import protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from consistency.actors import Actor, World

CLAIM_OVER = replace(tick(6.0, 0), rescue=True)
"""More seconds than a claim lasts."""


def _program(
    name: str,
    site: Site,
    readers: dict[str, tuple[str, str]],
    *,
    invalidated: str = "",
    failing: tuple[str, ...] = (),
    mortal: tuple[str, ...] = (),
    nature: tuple[Nature, ...] = (),
    happenings: int = 0,
    faults: tuple[str, ...] = (),
    unlucky: tuple[str, ...] = ("",),
) -> Program:
    """Put a program together; `readers` are threads, each with its process and what it reads."""
    site = replace(site, tier=redis_tier if site.tier is ModelTier else site.tier)

    def reader(process: str, record: str, fails: bool, actor: Actor) -> None:  # noqa: FBT001 (bound by `partial`)
        Caller(actor, site, process, fails=fails).read_through(record)

    actors: dict[str, Callable[[Actor], None]] = {
        thread: partial(reader, process, record, thread in failing) for thread, (process, record) in readers.items()
    }
    if invalidated:
        actors["I"] = lambda actor: Process(actor, site).invalidate(invalidated)
    return Program(
        name,
        actors,
        lambda: promises.new_world(CUSTOMER, SUBSCRIPTION),
        nature,
        happenings,
        faults,
        1 if faults else 0,
        unlucky,
        dict.fromkeys(mortal, _nothing),
        partial(no_dead_value, site),
    )


def _nothing(world: World) -> None:
    """Change no promise: a reader that dies has made none."""


def _threads(site: Site) -> Program:
    site = replace(site, watched=(CUSTOMER,))
    readers = {"A": ("P", CUSTOMER), "B": ("P", CUSTOMER)}
    return _program("two threads, an invalidation", site, readers, invalidated=CUSTOMER)


def _threads_embedded(site: Site) -> Program:
    readers = {"A": ("P", SUBSCRIPTION), "B": ("P", SUBSCRIPTION)}
    return _program("two threads that embed, an invalidation", site, readers, invalidated=CUSTOMER)


def _processes(site: Site) -> Program:
    site = replace(site, watched=(CUSTOMER,))
    readers = {"A": ("P", CUSTOMER), "Q": ("Q", CUSTOMER)}
    return _program("two processes, an invalidation", site, readers, invalidated=CUSTOMER)


def _failing(site: Site) -> Program:
    site = replace(site, watched=(CUSTOMER,))
    readers = {"A": ("P", CUSTOMER), "B": ("P", CUSTOMER), "Q": ("Q", CUSTOMER)}
    return _program("an origin call fails", site, readers, failing=("A",))


def _failing_process(site: Site) -> Program:
    site = replace(site, watched=(CUSTOMER,))
    readers = {"A": ("P", CUSTOMER), "Q": ("Q", CUSTOMER)}
    return _program("another process's call fails", site, readers, failing=("A",))


def _dying(site: Site) -> Program:
    site = replace(site, watched=(CUSTOMER,), timed=True)
    readers = {"A": ("P", CUSTOMER), "B": ("P", CUSTOMER), "Q": ("Q", CUSTOMER)}
    return _program("a claim's holder dies", site, readers, mortal=("Q",), nature=(CLAIM_OVER,), happenings=1)


def _shared_by_threads(site: Site) -> Program:
    site = replace(site, watched=(CUSTOMER,))
    readers = {"A": ("P", CUSTOMER), "B": ("P", CUSTOMER), "Q": ("Q", CUSTOMER)}
    return _program("two threads and a process share a call", site, readers)


def _shared_by_processes(site: Site) -> Program:
    site = replace(site, watched=(CUSTOMER,))
    return _program("two processes share a call", site, {"A": ("P", CUSTOMER), "Q": ("Q", CUSTOMER)})


def _evicted(site: Site) -> Program:
    site = replace(site, watched=(CUSTOMER,))
    readers = {"A": ("P", CUSTOMER), "Q": ("Q", CUSTOMER)}
    nature = (evict("redis", CUSTOMER),)
    return _program("two processes share a call, an eviction", site, readers, nature=nature, happenings=1)


_THEN = 100.0
"""Seconds after the claim of a process that was frozen when it asked."""


def _frozen(site: Site) -> Program:
    site = replace(site, watched=(CUSTOMER,), timed=True, tier=redis_tier)
    made = _program("a holder wakes after its claim", site, {"A": ("P", CUSTOMER), "B": ("Q", CUSTOMER)})

    def world() -> World:
        new = made.world()
        with mock.patch.object(protocol, "new_token", return_value="before"):
            Caller(Onlooker("before", new, []), site, "frozen").claim(CUSTOMER)
        new["time"] += _THEN
        return new

    def wakes(actor: Actor) -> None:
        Caller(actor, site, "frozen").give_up(CUSTOMER, "before")

    return replace(made, world=world, actors={**made.actors, "F": wakes})


CALLER_PROGRAMS: dict[str, Builder] = {
    "shared by processes": _shared_by_processes,
    "frozen": _frozen,
    "failing process": _failing_process,
}
SLOW_CALLER_PROGRAMS: dict[str, Builder] = {
    "shared by threads": _shared_by_threads,
    "threads": _threads,
    "processes": _processes,
    "threads embedded": _threads_embedded,
    "failing": _failing,
    "dying": _dying,
    "evicted": _evicted,
}
