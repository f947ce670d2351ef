"""Programs of lost invalidations: a tier is away when an event comes, an outbox takes it, replayers tell it.

Readers of other processes read and fill at any step. They may be given the old value until the replay, and never
after the step that forgets the entry.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consistency import queued
from consistency.actors import FAILS, LOST
from consistency.messengers import Messenger
from consistency.model import comes_back, evict, goes_away
from consistency.processes import CUSTOMER, Onlooker, Site
from consistency.programs import ONE, PLAIN, TWO, Builder, program, read, tick
from consistency.write_programs import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from consistency.actors import World
    from consistency.explorer import Nature, Program

    Script = Callable[[Any], None]

AWAY = "first"
"""Who learnt of a change before the program begins, and could not tell everybody."""


def deliver(record: str, event: str = "") -> Script:
    return lambda process: process.deliver(record, event)


def deliver_and_read(record: str, times: int = 1) -> Script:
    def script(process: Messenger) -> None:
        process.deliver(record)
        for _ in range(times):
            process.read(record)

    return script


def replay(times: int = 1) -> Script:
    return lambda process: process.replay(times)


def consume(times: int = 1) -> Script:
    return lambda process: process.consume(times)


def missed(site: Site, *tiers: str, records: tuple[str, ...] = PLAIN, kind: type[Messenger] = Messenger) -> Any:
    """Return what puts into an outbox, before the program begins, that these tiers missed a change of each record."""

    def prepare(world: World) -> None:
        for tier in tiers:
            goes_away(tier, AWAY).effect(world)
        for record in records:
            kind(Onlooker(AWAY, world, []), site).deliver(record)
        for tier in tiers:
            comes_back(tier).effect(world)

    return prepare


def away(tier: str, *actors: str) -> Callable[[World], None]:
    """Return what keeps these actors from a tier from the beginning."""
    return lambda world: world.update({("away", tier): actors})


def in_turn(*steps: Callable[[World], None]) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        for step in steps:
            step(world)

    return prepare


def replaying(
    name: str,
    site: Site,
    scripts: dict[str, Script],
    *,
    prepare: Callable[[World], None],
    kind: type[Messenger] = Messenger,
    cached: tuple[str, ...] = TWO,
    nature: tuple[Nature, ...] = (),
    happenings: int | None = None,
    mortal: tuple[str, ...] = (),
    **more: Any,
) -> Program:
    made = program(
        name,
        site,
        scripts,
        kind=kind,
        prepare=prepare,
        invariant=queued.nothing_lost,
        cached=cached,
        nature=nature,
        happenings=len(nature) + len(mortal) if happenings is None else happenings,
        **more,
    )
    return replace(made, crashes=crashes(*mortal))


def crashes(*mortal: str) -> dict[str, Callable[[World], None]]:
    """Let these actors die, which changes no promise: what nobody has forgotten is still owed."""
    return dict.fromkeys(mortal, lambda _: None)


def over_table(site: Site, **how: Any) -> Site:
    return replace(site, **{"shared": TWO, "watched": PLAIN, "places": ("table",), **how})


def _outage(site: Site) -> Program:
    site, scripts = over_table(site), {"I": deliver(CUSTOMER), "P": replay(), "R": read(CUSTOMER)}
    nature = (comes_back("redis"),)
    return replaying("an outage, a replay", site, scripts, prepare=away("redis", "I", "P", "R"), nature=nature)


def _partition(site: Site) -> Program:
    site, scripts = over_table(site), {"I": deliver(CUSTOMER), "P": replay(), "R": read(CUSTOMER)}
    return replaying(
        "one process cannot reach Redis, a replay",
        site,
        scripts,
        prepare=away("redis", "I"),
        cached=("dynamodb",),
    )


def _two_replayers(site: Site) -> Program:
    site = over_table(site)
    scripts = {"P": replay(), "O": replay(), "R": read(CUSTOMER)}
    return replaying("two replayers", site, scripts, prepare=missed(site, "redis"), cached=("redis",))


def _dying_replayer(site: Site) -> Program:
    site = over_table(site)
    scripts = {"P": replay(), "O": replay()}
    return replaying(
        "two replayers, one dies", site, scripts, prepare=missed(site, "redis"), mortal=("P",), cached=("redis",)
    )


def _second_event(site: Site) -> Program:
    site = over_table(site)
    scripts = {"J": deliver(CUSTOMER), "P": replay(), "R": read(CUSTOMER)}
    prepare = in_turn(missed(site, "redis"), away("redis", "J"))
    return replaying("a second event during the replay", site, scripts, prepare=prepare, cached=("redis",))


def _faults(site: Site) -> Program:
    site = over_table(site)
    scripts = {"P": replay(2), "R": read(CUSTOMER)}
    return replaying(
        "a replay whose steps fail",
        site,
        scripts,
        prepare=missed(site, "redis"),
        cached=("redis",),
        faults=(FAILS, LOST),
        fault_budget=2,
        unlucky=("P",),
    )


def _memory(site: Site) -> Program:
    site = over_table(site, memory=True)
    scripts = {"R": read(CUSTOMER, 3), "P": replay()}
    return replaying(
        "a replay, memory above",
        site,
        scripts,
        prepare=missed(site, "redis"),
        cached=("redis",),
        nature=(tick(12.0, 1), evict("redis", CUSTOMER)),
        happenings=2,
    )


def _debts(site: Site) -> Program:
    site, scripts = over_table(site), {"I": deliver_and_read(CUSTOMER, 2), "R": read(CUSTOMER)}
    nature = (comes_back("redis"),)
    return replaying(
        "a process in debt reads, the tier comes back",
        site,
        scripts,
        prepare=away("redis", "I"),
        cached=("redis",),
        nature=nature,
    )


def _debts_below(site: Site) -> Program:
    site = over_table(site, places=("queue",))
    scripts = {"I": deliver_and_read(CUSTOMER), "R": read(CUSTOMER)}
    nature = (comes_back("dynamodb"),)
    return replaying(
        "a process in debt with DynamoDB reads",
        site,
        scripts,
        prepare=away("dynamodb", "I"),
        cached=("dynamodb",),
        nature=nature,
    )


def _write(site: Site) -> Program:
    # Its hold would keep the old value out of Redis: only where the beginning fails too does the end matter.
    site = over_table(site, shared=ONE, versions=True)
    scripts = {"W": write(CUSTOMER), "P": replay(), "R": read(CUSTOMER)}
    return replaying(
        "a write whose end is queued",
        site,
        scripts,
        prepare=lambda _: None,
        cached=(),
        faults=(FAILS,),
        fault_budget=2,
        unlucky=("W: announce in redis",),
    )


def _queue(site: Site) -> Program:
    site = over_table(site, places=("queue", "table"))
    scripts = {"C": consume(), "R": read(CUSTOMER)}
    prepare = missed(site, *TWO)
    return replaying("a message of the queue, a copy upwards", site, scripts, prepare=prepare, cached=("dynamodb",))


def _queue_twice(site: Site) -> Program:
    site = over_table(site, places=("queue", "table"))
    scripts = {"C": consume(), "D": consume()}
    prepare = missed(site, *TWO)
    return replaying("a message is received twice", site, scripts, prepare=prepare, mortal=("C",), cached=TWO)


def _moved(site: Site) -> Program:
    site = over_table(site, places=("queue", "table"))
    scripts = {"C": consume(2), "P": replay(), "R": read(CUSTOMER)}
    return replaying(
        "a message moves into the table",
        site,
        scripts,
        prepare=in_turn(missed(site, "redis"), away("redis", "C")),
        cached=("redis",),
        mortal=("C",),
    )


REPLAY_PROGRAMS: dict[str, Builder] = {
    "replay after an outage": _outage,
    "replay of a partition": _partition,
    "two replayers": _two_replayers,
    "dying replayer": _dying_replayer,
    "second event": _second_event,
    "failing replay": _faults,
    "debts": _debts,
    "debts below": _debts_below,
    "queued write": _write,
    "queue": _queue,
    "queue twice": _queue_twice,
    "moved": _moved,
}
SLOW_REPLAY_PROGRAMS: dict[str, Builder] = {
    "replay, memory": _memory,
}
