"""Latency and faults: how long an answer takes, and what goes wrong with it instead."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Any

KINDS = ("error", "hang", "drop", "lock_timeout")


@dataclass
class LatencySettings:
    """Milliseconds between `low` and `high`, most of them near `low`, times `factor`; a factor of 0 means none."""

    factor: float = 0.0
    low: float = 100.0
    high: float = 500.0


@dataclass
class Fault:
    """One thing that goes wrong, for requests whose "METHOD /path" its pattern finds.

    `after` lets the request be processed first, so that the caller cannot know; `count` limits how often it strikes.
    """

    kind: str
    probability: float = 1.0
    count: int | None = None
    path: str = ""
    status: int = 500
    after: bool = False
    pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}: use one of {', '.join(KINDS)}")
        self.pattern = re.compile(self.path)


class Weather:
    """Draws latency and faults from one seeded source."""

    def __init__(self, seed: int = 0) -> None:
        self.latency = LatencySettings()
        self.faults: list[Fault] = []
        self._random = random.Random(seed)

    def delays(self) -> tuple[float, float]:
        """Return the seconds before and after the moment at which a request is processed."""
        settings = self.latency
        if not settings.factor:
            return 0.0, 0.0
        # beta(1.5, 4) has a mean of 0.27 and a long tail: about 210 ms of 100 to 500.
        drawn = settings.low + (settings.high - settings.low) * self._random.betavariate(1.5, 4)
        seconds = drawn * settings.factor / 1000
        before = seconds * self._random.uniform(0.2, 0.8)
        return before, seconds - before

    def strike(self, method: str, path: str) -> Fault | None:
        """Return the fault that hits this request, if one does."""
        for fault in self.faults:
            if fault.count == 0 or not fault.pattern.search(f"{method} {path}"):
                continue
            if self._random.random() < fault.probability:
                if fault.count is not None:
                    fault.count -= 1
                return fault
        return None


def faults_from(items: list[dict[str, Any]]) -> list[Fault]:
    """Build faults out of JSON; raises TypeError or ValueError on what is none."""
    return [Fault(**item) for item in items]
