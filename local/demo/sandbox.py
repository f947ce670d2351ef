"""The demo on a real Stripe sandbox: read-only, so nothing changes in the background and no history can be asked.

Instead, a sample of customers is asked of both halves at the end, and the answers are compared.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import stripe

from local.demo import figures
from local.demo.options import OptionError
from local.demo.progress import milliseconds
from local.demo.traffic import Half, arrivals, ask
from local.demo.world import SEED, World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.demo.options import Options
    from local.demo.progress import Progress
    from local.workers import WorkerPool

MOST_CUSTOMERS = 50
COMPARED = 20
ATTEMPTS = 3
DRAIN_SECONDS = 10.0
TICK_SECONDS = 1.0


def run(options: Options, progress: Progress) -> dict[str, Any]:
    """Run both halves against the sandbox and return the report; raises OptionError if the key or account won't do."""
    progress.say(
        f"stripe-cache demo on the sandbox behind STRIPE_API_KEY ({options.api_base}), read-only\n"
        f"  {options.rps:g} requests/s to each half; both share the sandbox's rate limits\n"
        f"  measured {options.seconds} s, after {options.warm_up:.0f} s of rising traffic"
    )
    customers = _customers(options)
    with World(options) as world:
        halves = (world.cached, world.plain)
        plan = arrivals(customers, warm_up=options.warm_up, seconds=options.seconds, rps=options.rps, seed=SEED)
        start = time.time() + 0.2
        measured = start + options.warm_up
        for half in halves:
            half.start(plan, start)
        lasted = options.warm_up + options.seconds
        while (left := start + lasted - time.time()) > 0:
            time.sleep(min(left, TICK_SECONDS))
            progress.live(_line(halves, time.time() - start, lasted), time.time() - start)
        unserved = {half.name: half.finish(DRAIN_SECONDS) for half in halves}
        progress.say("comparing answers from the cache with Stripe's own")
        differing = compare(world.cached.pool, world.plain.pool, customers[:COMPARED])
        report = _report(options, halves, unserved, (start, measured))
        report["halves"][world.cached.name]["differing_answers"] = len(differing)
        report["halves"][world.plain.name]["differing_answers"] = 0
        report["truth"]["examples"] = differing
        report["settings"]["customers"] = len(customers)
        return report


def _customers(options: Options) -> list[str]:
    """Return ids of customers of the account, with a key that may do nothing else for us."""
    client = stripe.StripeClient(options.api_key, base_addresses={"api": options.api_base})
    try:
        listed = client.v1.customers.list(params={"limit": MOST_CUSTOMERS})
    except stripe.AuthenticationError:
        raise OptionError("Stripe does not know STRIPE_API_KEY: copy the secret key of a sandbox again") from None
    except stripe.PermissionError:
        raise OptionError("STRIPE_API_KEY may not read customers: give it read access to them") from None
    except stripe.APIConnectionError as error:
        raise OptionError(f"{options.api_base} cannot be reached ({type(error).__name__}): check the network") from None
    except stripe.StripeError as error:
        raise OptionError(f"Stripe refused to list customers ({type(error).__name__}): {error.user_message}") from None
    if not listed.data:
        raise OptionError("the sandbox behind STRIPE_API_KEY has no customers: create one in the Dashboard first")
    return [customer.id for customer in listed.data]


def compare(cached: WorkerPool, plain: WorkerPool, customers: Sequence[str]) -> list[str]:
    """Ask both for the same customers; return those on which they disagree, also when asked again."""
    differing = []
    for customer in customers:
        for _ in range(ATTEMPTS):
            # Somebody else may be changing the sandbox just now: only a lasting difference counts.
            now = time.time()
            one, other = ask(cached, customer, now), ask(plain, customer, now)
            if one.status == other.status and one.body == other.body:
                break
            time.sleep(TICK_SECONDS)
        else:
            differing.append(f"{customer}: {one.status} {one.body} with the cache, {other.status} {other.body} without")
    return differing


def _report(
    options: Options, halves: tuple[Half, Half], unserved: dict[str, int], moments: tuple[float, float]
) -> dict[str, Any]:
    start, measured = moments
    found: dict[str, Any] = {}
    for half in halves:
        metrics = figures.metrics_from(half.pool.emf(), measured)
        mine = [one for one in half.samples if one.due >= measured]
        found[half.name] = {
            **figures.half_figures(mine, unserved[half.name]),
            "stripe_calls": int(metrics["", "", "OriginCall"]),
            "stripe_429": int(metrics["", "", "OriginRateLimited"]),
            "busy_sandboxes": figures.concurrency(half.samples, measured, options.seconds),
        }
    early = [sample for sample in halves[0].samples if sample.due < measured]
    return {
        "mode": "real sandbox",
        "settings": {"seconds": options.seconds, "workers": options.workers, "rps": options.rps}
        | {"warm_up_seconds": options.warm_up},
        "halves": found,
        "cache": figures.cache_figures(figures.metrics_from(halves[0].pool.emf(), measured)),
        "truth": {},
        "warm_up": figures.half_figures(early, 0),
        "series": {
            half.name: figures.series(half.samples, start, options.warm_up + options.seconds) for half in halves
        },
    }


def _line(halves: tuple[Half, Half], elapsed: float, lasted: float) -> str:
    parts = []
    for half in halves:
        p95 = figures.percentile([sample.latency_ms for sample in half.samples[-100:]], 0.95)
        parts.append(f"{half.name}: {len(half.samples)} answers, p95 {milliseconds(p95)}")
    return f"{elapsed:3.0f}/{lasted:.0f} s | " + " | ".join(parts)
