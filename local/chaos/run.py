"""One fault from the first warm read to the last verdict."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from local.chaos import samples as figures
from local.chaos.judge import Queued, Verdict, Written, judge
from local.chaos.outcome import Outcome
from local.chaos.samples import Baseline, Phases, Sample
from local.chaos.world import ORIGIN_TIMEOUT, Stage
from local.demo.changes import Changes

if TYPE_CHECKING:
    from local.chaos.faults import Fault
    from local.chaos.world import Servers
    from local.workers import Worker

PROCESSES = 4
SLICE = 0.5
MOST_HEALING = 45.0
"""Seconds after which a fault that was healed counts as not recovered from."""
DELIVERY_SECONDS = 30.0
WRITE_EVERY = 0.8


class Experiment:
    """One fault on a stage of its own. `seconds` is how long it lasts, `patience` how long to wait for recovery."""

    def __init__(
        self,
        servers: Servers,
        fault: Fault,
        seconds: float,
        *,
        warm: float | None = None,
        patience: float = MOST_HEALING,
    ) -> None:
        self._servers = servers
        self._fault = fault
        self._seconds = seconds
        self._warm = fault.warm if warm is None else warm
        self._patience = patience
        self._samples: list[Sample] = []
        self._writes: list[Written] = []
        self._errors: list[BaseException] = []
        self._stop = threading.Event()
        self._writing = threading.Event()
        self._write_lock = threading.Lock()
        self._serial = 0
        self._sweeping: set[int] = set()

    def run(self) -> Outcome:
        """Warm up, strike, heal, wait until all is as before, and judge."""
        fault = self._fault
        with Stage(self._servers, PROCESSES, way=fault.way, policy=fault.policy, settings=fault.settings) as stage:
            self._sweep(stage)
            threads = [threading.Thread(target=self._live, args=(stage, worker)) for worker in stage.workers]
            for thread in threads:
                thread.start()
            try:
                course = self._phases(stage)
            finally:
                self._stop.set()
                for thread in threads:
                    thread.join()
            if self._errors:
                raise self._errors[0]
            left = self._await_deliveries()
            untold = not stage.replays.wait_until_told(time.time(), DELIVERY_SECONDS)
            self._sweep(stage)
            queued = Queued(stage.front.queued, stage.replays.told_since)
            verdict = judge(self._servers.stripe, stage.reads, self._samples, self._writes, queued)
            return self._outcome(stage, course, left, verdict, untold=untold)

    def _phases(self, stage: Stage) -> tuple[Phases, Baseline, float | None]:
        fault = self._fault
        # The first second is left out: code and connections are new.
        self._pause(1.0)
        changes = self._changes(stage)
        warm = time.time()
        self._pause(self._warm)
        if not fault.changes:
            self._quiet(changes)
            # Everything has an entry, and none of them is void: from here on a permitted stale answer exists.
            self._sweeping.update(worker.pid for worker in stage.workers)
            while self._sweeping:
                self._pause(0.02)
        strike = time.time()
        baseline = Baseline(figures.between(self._samples, warm, strike), strike - warm)
        self._strike(stage, strike + self._seconds)
        fault.heal(stage)
        healed = time.time()
        if not fault.changes:
            # Reads that Stripe left hanging end by their own timeout. A change that voids their stale entry before that
            # leaves them with nothing, although Stripe could not answer and the entry was permitted.
            self._pause(ORIGIN_TIMEOUT)
            changes = self._changes(stage)
        recovered = None
        while time.time() < healed + max(self._patience, self._warm):
            self._pause(SLICE)
            recovered = figures.recovery(self._samples, baseline, healed, time.time() - SLICE)
            if recovered is not None and time.time() > healed + self._warm:
                break
        self._quiet(changes)
        return Phases(warm, strike, healed, time.time()), baseline, recovered

    def _strike(self, stage: Stage, until: float) -> None:
        self._fault.strike(stage)
        while (left := until - time.time()) > 0:
            self._pause(min(left, self._fault.every or left))
            if self._fault.every and time.time() < until:
                self._fault.strike(stage)

    def _changes(self, stage: Stage) -> Changes:
        self._serial += 1
        changes = Changes([self._servers.stripe], stage.ids, self._servers.seed + self._serial)
        changes.start()
        self._writing.set()
        return changes

    def _quiet(self, changes: Changes) -> None:
        if self._writing.is_set():
            with self._write_lock:
                self._writing.clear()
            changes.stop()
            self._await_deliveries()

    def _live(self, stage: Stage, worker: Worker) -> None:
        """Read slice by slice, and let the first process write in between."""
        drawn = random.Random(self._servers.seed)
        writer = worker is stage.workers[0]
        applied, written = 0.0, time.time()
        try:
            while not self._stop.is_set():
                skew = stage.skews.get(worker.pid, applied)
                if skew != applied:
                    stage.do(worker, {"do": "skew", "seconds": skew})
                    applied = skew
                if worker.pid in self._sweeping:
                    self._take(worker, stage.do(worker, {"do": "sweep", "first": 0}))
                    self._sweeping.discard(worker.pid)
                if writer and time.time() - written > WRITE_EVERY:
                    written = time.time()
                    with self._write_lock:
                        if self._writing.is_set():
                            self._write(stage, worker, drawn.choice(stage.ids["customers"]), f"Written at {written}")
                rate = self._fault.rate / PROCESSES
                self._take(worker, stage.do(worker, {"do": "slice", "rate": rate, "until": time.time() + SLICE}))
        except BaseException as error:  # noqa: BLE001 -- told by run(), on the thread that can act on it
            self._errors.append(error)
            self._stop.set()

    def _write(self, stage: Stage, worker: Worker, customer: str, name: str) -> None:
        done = stage.do(worker, {"do": "write", "id": customer, "name": name})
        if not done["error"]:
            self._writes.append(Written(done["pid"], customer, name, done["ended"], done["told"], done["queued"]))

    def _sweep(self, stage: Stage) -> None:
        """Have all processes read everything once, each from another place on."""
        share = len(stage.reads) // PROCESSES
        with ThreadPoolExecutor(PROCESSES) as threads:
            found = [
                (worker, threads.submit(stage.do, worker, {"do": "sweep", "first": number * share}))
                for number, worker in enumerate(stage.workers)
            ]
        for worker, answer in found:
            self._take(worker, answer.result())

    def _take(self, worker: Worker, answer: dict[str, Any]) -> None:
        self._samples += [Sample(worker.pid, *row) for row in answer["samples"]]

    def _await_deliveries(self) -> int:
        """Wait until Stripe has nothing more to tell; return how many events were never acknowledged."""
        deadline = time.monotonic() + DELIVERY_SECONDS
        while self._servers.stripe.counters()["webhooks"]["pending"] and time.monotonic() < deadline:
            time.sleep(0.05)
        return sum(one["acked_at"] is None for one in self._servers.stripe.deliveries())

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds) and self._errors:
            raise self._errors[0]

    def _outcome(
        self,
        stage: Stage,
        course: tuple[Phases, Baseline, float | None],
        left: int,
        verdict: Verdict,
        *,
        untold: bool,
    ) -> Outcome:
        phases, baseline, recovered = course
        running = figures.unfrozen(self._samples, stage.frozen)
        during = figures.between(self._samples, phases.strike, phases.heal)
        affected = figures.between(running, phases.strike, phases.heal + (recovered or 0.0))
        lasted = phases.heal - phases.strike
        failures = [
            f"{stage.reads[one.place][1]} {one.began - phases.strike:.2f} s after the blow: {one.error}"
            for one in self._samples
            if one.error and one.began >= phases.warm
        ]
        return Outcome(
            fault=self._fault,
            offered=self._fault.rate,
            done=len(during) / lasted,
            reads=len(self._samples),
            failed=len(failures),
            warm=baseline.added(figures.between(running, phases.warm, phases.strike)),
            added=baseline.added(affected),
            recovered=recovered,
            unacknowledged=left,
            untold=untold,
            verdict=verdict,
            errors=failures[:5],
        )
