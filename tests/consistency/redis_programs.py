"""Programs over the real Redis tier: connections that break before, in and after a step, and what is sent again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from consistency.actors import BREAKS, DEAD, FAILS, LATE, LATE_BREAKS, LOST
from consistency.model import ModelTier, evict
from consistency.processes import CUSTOMER, SUBSCRIPTION, Process, Site
from consistency.programs import Builder, invalidate, losses, program, read
from consistency.redis_model import redis_tier, straggler

if TYPE_CHECKING:
    from consistency.explorer import Program

_BOTH = {"I": invalidate(CUSTOMER), "J": invalidate(CUSTOMER)}
_AGAIN = (DEAD, BREAKS, LATE_BREAKS)


def _over_redis(site: Site) -> Site:
    return replace(site, tier=redis_tier) if site.tier is ModelTier else site


def _void_again(site: Site) -> Program:
    return program(
        "redis: a void is sent again",
        replace(_over_redis(site), watched=(CUSTOMER,)),
        {**_BOTH, "R": read(CUSTOMER)},
        nature=(straggler("redis", 1),),
        happenings=1,
        faults=_AGAIN,
        fault_budget=1,
        unlucky=("I: void", "J: void", "R: touch"),
        cached=("redis",),
    )


def _count_again(site: Site) -> Program:
    return program(
        "redis: the counter is sent again",
        _over_redis(site),
        {"I": Process.announce, "J": invalidate(CUSTOMER), "R": read(SUBSCRIPTION)},
        nature=(evict("redis", "#"),),
        happenings=1,
        faults=(DEAD, BREAKS),
        fault_budget=1,
        unlucky=("I: announce",),
    )


def _store_again(site: Site) -> Program:
    return program(
        "redis: a store is sent again",
        _over_redis(site),
        {"I": invalidate(CUSTOMER), "Q": read(CUSTOMER), "R": read(SUBSCRIPTION)},
        nature=(straggler("redis", 1),),
        happenings=1,
        faults=_AGAIN,
        fault_budget=1,
        unlucky=("Q: store", "R: store"),
    )


def _settle_again(site: Site) -> Program:
    return program(
        "redis: a settle is sent again",
        _over_redis(site),
        {**_BOTH, "R": read(SUBSCRIPTION)},
        nature=(straggler("redis", 1),),
        happenings=1,
        faults=_AGAIN,
        fault_budget=1,
        unlucky=("I: settle", "R: settle"),
        cached=("redis",),
    )


def _late(site: Site) -> Program:
    return program(
        "redis: what a broken connection held arrives",
        _over_redis(site),
        {**_BOTH, "R": read(SUBSCRIPTION)},
        nature=(straggler("redis", 1),),
        happenings=1,
        faults=(LATE, LATE_BREAKS),
        fault_budget=1,
        unlucky=("I: void",),
        cached=("redis",),
    )


def _plain(site: Site) -> Program:
    return program(
        "redis: bytes, losses and faults",
        _over_redis(site),
        {"R": read(SUBSCRIPTION), "I": invalidate(CUSTOMER)},
        nature=(*losses("redis"), straggler("redis", 1)),
        happenings=1,
        faults=(FAILS, LOST, DEAD, BREAKS, LATE, LATE_BREAKS),
        fault_budget=1,
        cached=("redis",),
    )


REDIS_PROGRAMS: dict[str, Builder] = {
    "count again": _count_again,
    "store again": _store_again,
    "void again": _void_again,
}
SLOW_REDIS_PROGRAMS: dict[str, Builder] = {
    "bytes": _plain,
    "settle again": _settle_again,
    "late": _late,
}
