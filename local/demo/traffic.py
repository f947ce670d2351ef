"""Open-loop traffic: when which customer is asked about, and the threads that ask.

Arrivals are drawn before the run, so that both halves get the same ones. A request that finds all sandboxes busy waits,
and its latency counts from the moment it was due: a slow half cannot slow down its own traffic.
"""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from local.workers import WorkerDiedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.workers import WorkerPool

ZIPF_EXPONENT = 1.1
FIRST_SHARE = 0.25
"""The traffic's share at the start of the warm-up; it rises evenly to all of it."""
INVOCATION_SECONDS = 15.0
OK = 200


class Arrival(NamedTuple):
    """One request to come: seconds after the start, and whom it is about."""

    at: float
    customer: str


@dataclass(frozen=True)
class Sample:
    """One request that was answered, or failed. `due`, `began` and `ended` are wall-clock seconds.

    `began` is when the handler started, after any wait for a sandbox. `cache` holds one Cache-Status per Stripe read.
    """

    customer: str
    due: float
    began: float
    ended: float
    status: int
    body: dict[str, Any] = field(default_factory=dict)
    cache: tuple[str, ...] = ()
    cold: bool = False
    error: str | None = None

    @property
    def latency_ms(self) -> float:
        """From when it was due to when it was answered."""
        return (self.ended - self.due) * 1000

    @property
    def failed(self) -> bool:
        """Whether the caller got anything but an answer."""
        return self.status != OK


def arrivals(customers: Sequence[str], *, warm_up: float, seconds: float, rps: float, seed: int) -> list[Arrival]:
    """Draw a Poisson stream of Zipf-popular customers; the first of the sequence is the most popular one."""
    draw = random.Random(seed)
    popularity = zipf(len(customers))
    found: list[Arrival] = []
    now = 0.0
    while True:
        share = min(1.0, FIRST_SHARE + (1 - FIRST_SHARE) * now / warm_up) if warm_up else 1.0
        now += draw.expovariate(rps * share)
        if now >= warm_up + seconds:
            return found
        (customer,) = draw.choices(customers, cum_weights=popularity)
        found.append(Arrival(now, customer))


def zipf(count: int) -> list[float]:
    """Return the cumulative weights of ranks 1 to `count`."""
    return list(accumulate(rank**-ZIPF_EXPONENT for rank in range(1, count + 1)))


def entitlements_event(customer: str) -> dict[str, Any]:
    """Return the HTTP API event of GET /entitlements/{customer}."""
    return {
        "version": "2.0",
        "routeKey": "GET /entitlements/{customer}",
        "rawPath": f"/entitlements/{customer}",
        "headers": {"accept": "application/json"},
        "pathParameters": {"customer": customer},
        "requestContext": {"http": {"method": "GET", "path": f"/entitlements/{customer}"}},
        "isBase64Encoded": False,
    }


def ask(pool: WorkerPool, customer: str, due: float) -> Sample:
    """Ask the handler once and note what came of it; raises nothing for the handler's sake."""
    sent = time.time()
    try:
        result = pool.invoke(entitlements_event(customer), INVOCATION_SECONDS)
    except WorkerDiedError as error:
        return Sample(customer, due, sent, time.time(), 0, error=str(error))
    ended, began = time.time(), result.began_at or sent
    if result.error is not None:
        return Sample(customer, due, began, ended, 0, cold=result.cold, error=result.error)
    answer = result.payload
    told = answer["headers"].get("cache-status", "")
    cache = tuple(told.split(", ")) if told else ()
    return Sample(customer, due, began, ended, answer["statusCode"], json.loads(answer["body"]), cache, result.cold)


class Half:
    """One half of the comparison: its sandboxes, its threads (one per sandbox), and what they saw."""

    def __init__(self, name: str, pool: WorkerPool, threads: int) -> None:
        self.name = name
        self.pool = pool
        self.samples: list[Sample] = []
        self.width = threads
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._next = 0
        self._plan: Sequence[Arrival] = ()
        self._stop = threading.Event()

    def start(self, plan: Sequence[Arrival], start: float) -> None:
        """Begin with the plan, whose times count from `start` (wall clock)."""
        self._plan = plan
        self._threads = [threading.Thread(target=self._work, args=(start,), daemon=True) for _ in range(self.width)]
        for thread in self._threads:
            thread.start()

    def finish(self, grace: float) -> int:
        """Wait at most `grace` seconds for the rest, then take no more; return how many got no turn."""
        deadline = time.monotonic() + grace
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.stop()
        for thread in self._threads:
            thread.join(INVOCATION_SECONDS)
        return len(self._plan) - len(self.samples)

    def stop(self) -> None:
        """Begin no further request."""
        self._stop.set()

    def overdue(self, now: float, start: float) -> int:
        """Return how many requests are due and not begun: the queue in front of the sandboxes."""
        with self._lock:
            first = self._next
        return sum(1 for arrival in self._plan[first:] if start + arrival.at < now)

    def _work(self, start: float) -> None:
        while not self._stop.is_set():
            with self._lock:
                if self._next >= len(self._plan):
                    return
                arrival = self._plan[self._next]
                self._next += 1
            due = start + arrival.at
            wait = due - time.time()
            if wait > 0 and self._stop.wait(wait):
                return
            sample = ask(self.pool, arrival.customer, due)
            self.samples.append(sample)
