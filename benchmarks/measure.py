"""Timing many contenders in one run, in turns so short that whatever slows the machine down slows all of them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OURS, FLOOR, PEER = "ours", "floor", "peer"


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to read. `call` reads the n-th object and returns it decoded; `floor` names the contender to divide by.

    `way` is what a caller gets: `client` for the SDK's objects, `get` for plain decoded JSON. `slowness` divides its
    turns, so that a contender of milliseconds does not make the run take minutes.
    """

    name: str
    way: str
    shape: str
    kind: str
    call: Callable[[int], Any]
    floor: str = ""
    slowness: int = 1

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it apart from the others."""
        return (self.shape, self.way, self.name)


@dataclass(frozen=True, slots=True)
class Timing:
    """What was measured of one contender, in microseconds; `ratio` is its median over its floor's."""

    contender: Contender
    median: float
    p95: float
    calls: int
    ratio: float | None


def interleave(contenders: Sequence[Contender], rounds: int, batch: int, seed: int = 1) -> list[Timing]:
    """Call each contender in every round, in another order each time, and time every single call."""
    order = list(contenders)
    draw = random.Random(seed)
    samples: dict[tuple[str, str, str], list[int]] = {one.key: [] for one in contenders}
    for number in range(rounds):
        draw.shuffle(order)
        for contender in order:
            call, taken = contender.call, samples[contender.key]
            for index in range(max(1, batch // contender.slowness)):
                began = perf_counter_ns()
                call(number + index)
                taken.append(perf_counter_ns() - began)
    return _timings(contenders, samples)


def _timings(contenders: Sequence[Contender], samples: dict[tuple[str, str, str], list[int]]) -> list[Timing]:
    medians = {key: median(taken) / 1000 for key, taken in samples.items()}
    timings = []
    for one in contenders:
        taken = samples[one.key]
        p95 = quantiles(taken, n=20, method="inclusive")[-1] if len(taken) > 1 else taken[0]
        floor = medians.get((one.shape, one.way, one.floor))
        ratio = medians[one.key] / floor if floor else None
        timings.append(Timing(one, medians[one.key], p95 / 1000, len(taken), ratio))
    return timings
