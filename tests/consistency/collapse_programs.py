"""Programs of an outbox that was too full, and now says that Redis missed everything in the namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consistency.messengers import Messenger
from consistency.model import evict
from consistency.processes import CUSTOMER, SUBSCRIPTION, Site
from consistency.programs import Builder, read, tick
from consistency.replay_programs import away, deliver, in_turn, missed, over_table, replay, replaying

if TYPE_CHECKING:
    from consistency.explorer import Program


class Tight(Messenger):
    """Its outbox is full as soon as it holds an entry, and collapses at the next."""

    most = 1


def _collapse(site: Site) -> Program:
    site = over_table(site)
    scripts = {"J": deliver(CUSTOMER), "P": replay(), "R": read(CUSTOMER)}
    prepare = in_turn(missed(site, "redis", kind=Tight), away("redis", "J"))
    return replaying(
        "an outbox collapses during a replay", site, scripts, prepare=prepare, kind=Tight, cached=("redis",)
    )


def _collapsed_again(site: Site) -> Program:
    site = over_table(site)
    scripts = {"J": deliver(CUSTOMER), "P": replay(), "R": read(CUSTOMER)}
    everything = missed(site, "redis", records=(CUSTOMER, CUSTOMER), kind=Tight)
    prepare = in_turn(everything, away("redis", "J"))
    return replaying(
        "everything is missed again during a replay", site, scripts, prepare=prepare, kind=Tight, cached=("redis",)
    )


def _collapsed_embedded(site: Site) -> Program:
    site = over_table(site, watched=(CUSTOMER, SUBSCRIPTION))
    scripts = {"P": replay(), "R": read(SUBSCRIPTION)}
    prepare = missed(site, "redis", records=(CUSTOMER, CUSTOMER), kind=Tight)
    return replaying(
        "everything is replayed, a fill that embeds",
        site,
        scripts,
        prepare=prepare,
        kind=Tight,
        cached=("redis",),
        nature=(evict("redis", CUSTOMER), evict("redis", SUBSCRIPTION)),
        happenings=1,
    )


def _collapsed_memory(site: Site) -> Program:
    site = over_table(site, memory=True)
    scripts = {"R": read(CUSTOMER, 3), "P": replay()}
    prepare = missed(site, "redis", records=(CUSTOMER, CUSTOMER), kind=Tight)
    return replaying(
        "everything is replayed, memory above",
        site,
        scripts,
        prepare=prepare,
        kind=Tight,
        cached=("redis",),
        nature=(tick(12.0, 1), evict("redis", CUSTOMER)),
        happenings=2,
    )


COLLAPSE_PROGRAMS: dict[str, Builder] = {
    "collapse": _collapse,
    "collapsed again": _collapsed_again,
    "collapsed, embedded": _collapsed_embedded,
}
SLOW_COLLAPSE_PROGRAMS: dict[str, Builder] = {
    "collapsed, memory": _collapsed_memory,
}
