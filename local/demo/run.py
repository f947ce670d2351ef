"""The main job on the fake Stripe: both halves under the same traffic, and the report of what they did."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from local.demo import figures, truth, views
from local.demo.changes import Changes
from local.demo.evictions import Evictions
from local.demo.progress import milliseconds, percent
from local.demo.traffic import ZIPF_EXPONENT, Half, Sample, arrivals
from local.demo.world import CUSTOMERS, LATENCY, LIMITS, PRODUCTS, SEED, World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.demo.options import Options
    from local.demo.progress import Progress

MEMORY_MAX_LAG = 1.0
"""The settings' default, in seconds: how far the memory tier may be behind an acknowledged webhook."""
DRAIN_SECONDS = 5.0
DELIVERY_SECONDS = 10.0
TICK_SECONDS = 1.0
RECENT_SECONDS = 3.0


def run(options: Options, progress: Progress) -> dict[str, Any]:
    """Run the whole comparison and return the report; takes the warm-up, the measured seconds and about 12 more."""
    begun = time.monotonic()
    progress.say(introduction(options))
    with World(options) as world:
        progress.say(f"started in {time.monotonic() - begun:.1f} s; warming up for {options.warm_up:.0f} s")
        job = Job(options, world, progress)
        job.go()
        return job.report()


def introduction(options: Options) -> str:
    """Say what is about to be compared, and under which conditions."""
    latency = f"{LATENCY['low']:.0f}-{LATENCY['high']:.0f} ms a call"
    limits = f"{LIMITS['test']:.0f}/s, {LIMITS['endpoint']:.0f}/s per endpoint"
    return (
        "stripe-cache demo: the entitlements handler with the cache, and without it, at the same time\n"
        f"  traffic   {options.rps:g} requests/s to each half, {CUSTOMERS} customers, Zipf {ZIPF_EXPONENT}; "
        f"at most {options.workers} sandboxes each, frozen between invocations\n"
        f"  Stripe    a fake one per half, same data: {latency}, and the limits of a live account: {limits}\n"
        "  meanwhile customers, subscriptions and products change, and Redis loses a record now and then\n"
        f"  measured  {options.seconds} s, after {options.warm_up:.0f} s of rising traffic"
    )


class Job:
    """One run in a world that has been started."""

    def __init__(self, options: Options, world: World, progress: Progress) -> None:
        self._options = options
        self._world = world
        self._progress = progress
        self._changes = Changes(world.fakes, world.ids, SEED)
        self._evictions = Evictions(world.stores.valkey)
        self._start = self._measured = 0.0
        self._unserved: dict[str, int] = {}
        self._before: list[dict[str, Any]] = []
        self._after: list[dict[str, Any]] = []

    def go(self) -> None:
        """Send the traffic, change things meanwhile, and wait for the last answers and deliveries."""
        options, world = self._options, self._world
        plan = arrivals(
            world.ids["customers"], warm_up=options.warm_up, seconds=options.seconds, rps=options.rps, seed=SEED
        )
        self._start = time.time() + 0.2
        self._measured = self._start + options.warm_up
        halves = (world.cached, world.plain)
        for half in halves:
            half.start(plan, self._start)
        self._watch_until(self._measured)
        self._before = [fake.counters() for fake in world.fakes]
        self._changes.start()
        self._evictions.start()
        self._watch_until(self._measured + options.seconds)
        self._changes.stop()
        self._evictions.stop()
        self._unserved = {half.name: half.finish(DRAIN_SECONDS) for half in halves}
        self._after = [fake.counters() for fake in world.fakes]
        self._await_deliveries()

    def report(self) -> dict[str, Any]:
        """Judge what was recorded, and return all figures."""
        world, options = self._world, self._options
        lasted = options.warm_up + options.seconds
        self._progress.say("holding every answer against the history of the fake Stripe")
        judgements = {half.name: self._judge(half, index) for index, half in enumerate((world.cached, world.plain))}
        metrics = figures.metrics_from(world.cached.pool.emf(), self._measured)
        halves = {}
        for index, half in enumerate((world.cached, world.plain)):
            mine = [sample for sample in half.samples if sample.due >= self._measured]
            halves[half.name] = {
                **figures.half_figures(mine, self._unserved[half.name]),
                **figures.stripe_figures(self._before[index], self._after[index]),
                "stale_answers": judgements[half.name].stale,
                "busy_sandboxes": figures.concurrency(half.samples, self._measured, options.seconds),
            }
        early = [sample for sample in world.cached.samples if sample.due < self._measured]
        warm_up = {**figures.half_figures(early, 0), "stripe_429": sum(self._before[0]["rate_limited"].values())}
        return {
            "mode": "fake Stripe",
            "settings": {"seconds": options.seconds, "workers": options.workers, "rps": options.rps}
            | {"warm_up_seconds": options.warm_up, "customers": CUSTOMERS, "products": PRODUCTS, "zipf": ZIPF_EXPONENT}
            | {"latency_ms": [LATENCY["low"], LATENCY["high"]], "limits_per_second": LIMITS},
            "halves": halves,
            "cache": figures.cache_figures(metrics),
            "truth": {
                "answers": dict(judgements[world.cached.name].answers),
                "reads": dict(judgements[world.cached.name].reads),
                "examples": judgements[world.cached.name].examples,
                "memory_max_lag_s": MEMORY_MAX_LAG,
            },
            "webhooks": self._webhooks(),
            "changes": dict(self._changes.made),
            "evicted_from_redis": self._evictions.made,
            "warm_up": warm_up,
            "series": {
                half.name: figures.series(half.samples, self._start, lasted) for half in (world.cached, world.plain)
            },
        }

    def _judge(self, half: Half, index: int) -> truth.Judgement:
        """Judge every answer since the start, the warm-up's too."""
        fake = self._world.fakes[index]
        kinds = {part.path: part.kind for sample in half.samples for part in views.shown(sample)}
        rows = fake.histories(list(kinds), bodies=True)
        histories = {path: truth.history_from(kind, rows[path]) for path, kind in kinds.items()}
        # Nobody tells the half without the cache of changes: it is held to Stripe's own state.
        acks = truth.acks_from(fake.deliveries()) if index == 0 else truth.acks_at_once(histories)
        return truth.Referee(histories, acks, MEMORY_MAX_LAG).judge(half.samples)

    def _webhooks(self) -> dict[str, Any]:
        deliveries = self._world.fakes[0].deliveries()
        attempts = [attempt for delivery in deliveries for attempt in delivery["attempts"]]
        lags = [(one["acked_at"] - one["created_at"]) * 1000 for one in deliveries if one["acked_at"] is not None]
        front = self._world.front
        return {
            "events": len(deliveries),
            "acknowledged": len(lags),
            "attempts": len(attempts),
            "answers": {str(status): count for status, count in sorted(front.statuses.items())} if front else {},
            "p50_ms_from_change_to_acknowledgement": figures.percentile(lags, 0.5),
            "p95_ms_from_change_to_acknowledgement": figures.percentile(lags, 0.95),
        }

    def _await_deliveries(self) -> None:
        deadline = time.monotonic() + DELIVERY_SECONDS
        while self._world.fakes[0].counters()["webhooks"]["pending"] and time.monotonic() < deadline:
            time.sleep(0.05)

    def _watch_until(self, moment: float) -> None:
        while (left := moment - time.time()) > 0:
            time.sleep(min(left, TICK_SECONDS))
            self._progress.live(self._line(time.time()), time.time() - self._start)

    def _line(self, now: float) -> str:
        phase = "warm-up " if now < self._measured else "measured"
        counters: list[Mapping[str, Any]] = [fake.counters() for fake in self._world.fakes]
        parts = []
        for half, counts in zip((self._world.cached, self._world.plain), counters, strict=True):
            recent = [sample for sample in half.samples[-500:] if sample.ended > now - RECENT_SECONDS]
            rate = _hit_ratio(recent)
            parts.append(
                f"{half.name}: p95 {milliseconds(figures.percentile([one.latency_ms for one in recent], 0.95))}"
                + (
                    f", {percent(rate)} hits"
                    if half is self._world.cached
                    else f", {half.overdue(now, self._start)} queued"
                )
                + f", {counts['reads']} calls, {sum(counts['rate_limited'].values())} refused"
            )
        end = self._options.warm_up + self._options.seconds
        return f"{phase} {now - self._start:3.0f}/{end:.0f} s | " + " | ".join(parts)


def _hit_ratio(samples: list[Sample]) -> float | None:
    tiers = [views.tier_of(status) for sample in samples for status in sample.cache]
    return figures.ratio(sum(bool(tier) for tier in tiers), len(tiers))
