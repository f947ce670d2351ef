"""Programs in which a lagging replica of Redis takes over; `excuses` says what of the promises is then given up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from consistency.processes import CUSTOMER, SUBSCRIPTION, Site
from consistency.programs import PLAIN, TWO, invalidate, program, read, tick
from consistency.takeovers import ALL, falls_behind, remedy, takes_over

if TYPE_CHECKING:
    from collections.abc import Callable

    from consistency.explorer import Program

Excused = frozenset[str]


def plain(excuses: Excused = ALL) -> Program:
    return program(
        "a replica takes over",
        Site(watched=PLAIN),
        {"R": read(CUSTOMER), "I": invalidate(CUSTOMER), "J": invalidate(CUSTOMER)},
        nature=(falls_behind("redis"), takes_over("redis", excuses)),
        happenings=2,
        cached=("redis",),
    )


def over_dynamodb(excuses: Excused = ALL) -> Program:
    return program(
        "a replica takes over, DynamoDB beneath",
        Site(watched=PLAIN, shared=TWO),
        {"R": read(CUSTOMER), "I": invalidate(CUSTOMER)},
        nature=(falls_behind("redis"), takes_over("redis", excuses)),
        happenings=2,
        cached=("redis", "dynamodb"),
    )


def embedded(excuses: Excused = ALL) -> Program:
    return program(
        "a replica takes over, a fill that embeds",
        Site(),
        {"R": read(SUBSCRIPTION), "I": invalidate(CUSTOMER), "J": invalidate(CUSTOMER)},
        nature=(falls_behind("redis"), takes_over("redis", excuses)),
        happenings=2,
        cached=("redis",),
    )


def memory(excuses: Excused = ALL) -> Program:
    return program(
        "a replica takes over, memory above",
        Site(watched=PLAIN, memory=True),
        {"R": read(CUSTOMER, 2), "I": invalidate(CUSTOMER), "J": invalidate(CUSTOMER)},
        nature=(falls_behind("redis"), takes_over("redis", excuses), tick(12.0, 1)),
        happenings=3,
    )


def flushed(excuses: Excused = ALL) -> Program:
    return replace(
        program(
            "a replica takes over and is flushed",
            Site(),
            {"R": read(SUBSCRIPTION), "I": invalidate(CUSTOMER)},
            nature=(falls_behind("redis"), takes_over("redis", excuses), remedy("redis")),
            happenings=3,
            cached=("redis",),
        )
    )


TAKEOVERS: dict[str, Callable[[Excused], Program]] = {
    "plain": plain,
    "over dynamodb": over_dynamodb,
    "flushed": flushed,
}
