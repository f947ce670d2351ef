"""2,000 reads per second over many processes, against the fake Stripe at the limits of a live account.

Nothing is broken here. The question is what the callers and Stripe see: no 429 once warm, and never more calls than
Stripe allows. The fake refuses by its own token buckets, and its counters are read four times a second besides.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.chaos.samples import Sample, hit_ratio
from local.chaos.world import DIRECT, LIMITS, Stage
from local.demo.changes import Changes
from local.demo.figures import percentile

if TYPE_CHECKING:
    from local.chaos.world import Servers
    from local.fake_stripe.client import FakeStripe
    from local.workers import Worker

RATE, PROCESSES, CUSTOMERS = 2000.0, 8, 60
REAL_LATENCY = {"factor": 1.0, "low": 100.0, "high": 500.0}
SLICE = 1.0
POLL_SECONDS = 0.25
WARM_SECONDS = 5.0
_BURST = 1.0
"""Stripe's buckets hold a second's worth: in one second twice the rate can pass without a refusal."""


@dataclass
class Flood:
    """What was seen; rates are calls per second, `highest` over any second that was looked at."""

    seconds: float
    processes: int = PROCESSES
    offered: float = 0.0
    done: float = 0.0
    failed: int = 0
    limited: int = 0
    hits: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)
    """What the fake refused since the very start, the cold one included."""
    highest: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What must not be, in words."""
        found = []
        if self.failed:
            found.append(f"flood: {self.failed} reads failed, {self.limited} of them limited, such as {self.errors[0]}")
        if self.refused:
            found.append(f"flood: Stripe refused {sum(self.refused.values())} calls: {self.refused}")
        for name, most in self.highest.items():
            limit = LIMITS["test"] if name == ACCOUNT else LIMITS["endpoint"]
            if most > limit * (1 + _BURST):
                found.append(f"flood: {most:.0f} calls in a second to {name}, beyond {limit:.0f} and a full bucket")
        return found

    def text(self) -> str:
        """Say it in a few lines."""
        highest = ", ".join(
            f"{name} {most:.0f} of {LIMITS['test'] if name == ACCOUNT else LIMITS['endpoint']:.0f}"
            for name, most in sorted(self.highest.items())
        )
        return (
            f"flood: {self.offered:.0f} reads/s offered to {self.processes} processes, {self.done:.0f}/s done, "
            f"{self.failed} failed, {self.limited} limited; hits {self.hits:.2%}, p50 {self.p50_ms:.3f} ms, "
            f"p99 {self.p99_ms:.1f} ms\n"
            f"       429s by Stripe since the cold start: {self.refused or 'none'}; "
            f"highest calls in any second: {highest}"
        )


ACCOUNT = "account"


class _Watch:
    """Polls the fake's counters and keeps the most calls in any second, per endpoint and in all."""

    def __init__(self, stripe: FakeStripe) -> None:
        self.highest: dict[str, float] = {}
        self._stripe = stripe
        self._stop = threading.Event()
        self._rows: deque[tuple[float, dict[str, int]]] = deque()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            counted = self._stripe.counters()["endpoints"]
            calls = {
                name: sum(number for status, number in found.items() if status != "429")
                for name, found in counted.items()
            }
            calls[ACCOUNT] = sum(calls.values())
            now = time.monotonic()
            self._rows.append((now, calls))
            while len(self._rows) > 1 and now - self._rows[1][0] >= 1.0:
                self._rows.popleft()
            then, before = self._rows[0]
            for name, count in calls.items():
                rate = (count - before.get(name, 0)) / max(1.0, now - then)
                self.highest[name] = max(self.highest.get(name, 0.0), rate)


def run(
    servers: Servers, seconds: float, *, rate: float = RATE, processes: int = PROCESSES, customers: int = CUSTOMERS
) -> Flood:
    """Warm up, then offer the load for so many seconds."""
    with Stage(servers, processes, way=DIRECT, customers=customers, latency=REAL_LATENCY) as stage:
        servers.stripe.reset()
        watch = _Watch(servers.stripe)
        changes = Changes([servers.stripe], stage.ids, servers.seed)
        changes.start()
        try:
            _all(stage, lambda number: {"do": "sweep", "first": number * len(stage.reads) // processes})
            _offer(stage, rate, min(WARM_SECONDS, seconds))
            begun = time.time()
            samples = _offer(stage, rate, seconds)
            lasted = time.time() - begun
        finally:
            changes.stop()
            watch.stop()
        failures = [one.error for one in samples if one.error]
        times = [one.ms for one in samples]
        return Flood(
            seconds=seconds,
            processes=processes,
            offered=rate,
            done=len(samples) / lasted,
            failed=len(failures),
            limited=sum("Limit" in one for one in failures),
            hits=hit_ratio(samples),
            p50_ms=percentile(times, 0.5) or 0.0,
            p99_ms=percentile(times, 0.99) or 0.0,
            refused=dict(servers.stripe.counters()["rate_limited"]),
            highest=watch.highest,
            errors=failures[:5],
        )


def _offer(stage: Stage, rate: float, seconds: float) -> list[Sample]:
    """Let every process read at its share of the rate for so long."""
    until = time.time() + seconds
    share = rate / len(stage.workers)

    def live(worker: Worker) -> list[Sample]:
        found: list[Sample] = []
        while (now := time.time()) < until:
            event = {"do": "slice", "rate": share, "until": min(until, now + SLICE)}
            found += [Sample(worker.pid, *row) for row in stage.do(worker, event)["samples"]]
        return found

    with ThreadPoolExecutor(len(stage.workers)) as threads:
        return [sample for found in threads.map(live, stage.workers) for sample in found]


def _all(stage: Stage, event: Any) -> None:
    with ThreadPoolExecutor(len(stage.workers)) as threads:
        for each in [threads.submit(stage.do, worker, event(n)) for n, worker in enumerate(stage.workers)]:
            each.result()
