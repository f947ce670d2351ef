"""What was measured of one fault: samples, and the numbers made of them."""

from __future__ import annotations

from math import sqrt
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WINDOW, WINDOW_READS = 0.5, 25
"""Seconds in which it is decided whether things are as before; longer if fewer reads than this are usual in them."""
SUSTAINED = 2
"""Windows in a row that must be as before the fault: a second."""
_HIT_TOLERANCE, _DEVIATIONS = 0.05, 2.0
_LATENCY_FACTOR, _LATENCY_SLACK_MS = 3.0, 1.0
_DONE_SHARE = 0.7


class Sample(NamedTuple):
    """One read: by whom, which, when it began, how long it took, what it showed, and where that came from.

    `tier` is empty when Stripe answered; `error` when anybody did.
    """

    pid: int
    place: int
    began: float
    ms: float
    value: str
    tier: str
    error: str

    @property
    def ended(self) -> float:
        """When it was answered, or failed."""
        return self.began + self.ms / 1000


class Phases(NamedTuple):
    """Wall-clock seconds: the warm phase begins, the fault strikes, it is healed, the end."""

    warm: float
    strike: float
    heal: float
    end: float


class Added(NamedTuple):
    """Milliseconds more than the same process took for the same read in the warm phase: the median and the worst."""

    median: float
    worst: float


NONE = Added(0.0, 0.0)


class Baseline:
    """How things were before the fault: hit ratio, latency, and the usual time of each read by each process."""

    def __init__(self, warm: Sequence[Sample], seconds: float) -> None:
        answered = [one for one in warm if not one.error]
        times: dict[tuple[int, int], list[float]] = {}
        for one in answered:
            times.setdefault((one.pid, one.place), []).append(one.ms)
        self._usual = {key: median(found) for key, found in times.items()}
        self._middle = median([one.ms for one in answered]) if answered else 0.0
        self.hits = hit_ratio(answered)
        per_second = max(1.0, len(warm) / max(seconds, WINDOW))
        self.window = max(WINDOW, WINDOW_READS / per_second)
        self.per_window = per_second * self.window

    def added(self, samples: Iterable[Sample]) -> Added:
        """Compare each read with its own pair; one that was never read before is compared with the median of all."""
        more = [one.ms - self._usual.get((one.pid, one.place), self._middle) for one in samples]
        return Added(median(more), max(more)) if more else NONE

    def is_back(self, window: Sequence[Sample]) -> bool:
        """Tell whether these samples of one window look as before: load, failures, hits and latency."""
        if any(one.error for one in window) or len(window) < self.per_window * _DONE_SHARE:
            return False
        slow = median([one.ms for one in window]) > self._middle * _LATENCY_FACTOR + _LATENCY_SLACK_MS
        # Few reads are few draws: their share of hits strays from what it would be by many.
        strays = _DEVIATIONS * sqrt(self.hits * (1 - self.hits) / len(window))
        return not slow and hit_ratio(window) >= self.hits - _HIT_TOLERANCE - strays


def hit_ratio(samples: Sequence[Sample]) -> float:
    """Return the share that a tier answered."""
    return sum(bool(one.tier) for one in samples) / len(samples) if samples else 0.0


def between(samples: Iterable[Sample], since: float, until: float) -> list[Sample]:
    """Return those that began in the interval."""
    return [one for one in samples if since <= one.began < until]


def recovery(samples: Sequence[Sample], baseline: Baseline, healed: float, now: float) -> float | None:
    """Return the seconds after healing from which on a second looked as before the fault; None if none did yet."""
    good, width = 0, baseline.window
    for number in range(int((now - healed) / width)):
        since = healed + number * width
        good = good + 1 if baseline.is_back(between(samples, since, since + width)) else 0
        if good == SUSTAINED:
            return (number + 1 - SUSTAINED) * width
    return None


def unfrozen(samples: Iterable[Sample], frozen: Mapping[int, tuple[float, float]]) -> list[Sample]:
    """Leave out the reads during which their process was stopped: that time is not the cache's."""
    return [
        one
        for one in samples
        if one.pid not in frozen or one.ended < frozen[one.pid][0] or one.began > frozen[one.pid][1]
    ]
