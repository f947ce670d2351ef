"""With packets to Redis and DynamoDB lost: what a read takes longer than the same read without any cache."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from fakes import RecordingMeter

from stripe_cache import Settings, StripeCache
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.metrics import TIER_ERROR
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.chaos.world import Servers

KEY = "sk_test_deadtiers"
BUDGET_MS = 150.0
PER_SECOND = 8.0
PERIOD = 0.95
"""Seconds between two looks at the clock of the breaker: its first pause is 1 s."""
SECONDS = 6.0
BUSY_MS = 1000.0
"""How much later than planned a machine with other things to do may wake a process."""


@dataclass
class Pair:
    """One read with the cache and the same without: when, milliseconds more, and how often each tier was waited for."""

    at: float
    extra_ms: float
    redis: int
    dynamodb: int

    def waited_ms(self, settings: Settings) -> float:
        """Return what the configured timeouts of the calls that failed add up to."""
        return 1000 * (self.redis * settings.redis_timeout + self.dynamodb * settings.dynamodb_timeout)


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Settings:
    servers.stripe.reset(state=True)
    servers.stripe.configure(latency={}, limits={"factor": 1}, faults=[])
    return Settings(
        namespace="acct_deadtiers",
        redis_url=f"redis://{servers.valkey.host}:{servers.redis_proxy.port}/0",
        table=servers.table,
        api_base=servers.stripe.url,
        events=True,
    )


@pytest.fixture(scope="module")
def pairs(servers: Servers, settings: Settings) -> list[Pair]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in servers.environment("proxied").items():
            if not name.startswith("STRIPE_CACHE_"):
                patch.setenv(name, value)
        try:
            measured = list(_pairs(servers, settings))
        finally:
            servers.redis_proxy.heal()
            servers.dynamodb_proxy.heal()
    return measured


TIERS = ("redis", "dynamodb")


def _pairs(servers: Servers, settings: Settings) -> Iterator[Pair]:
    """Warm both up, lose all packets, and read in pairs for a few seconds, with the tiers' default timeouts."""
    customers = servers.stripe.seed(12, 1)["customers"]
    meter = RecordingMeter()
    cached = StripeCache(settings, engine=build(settings, clock=SystemClock(), meter=meter))
    plain = StripeCache(
        Settings(namespace="acct_deadtiers", api_base=settings.api_base, memory_max_bytes=0, rate_limits=None)
    )
    for customer in customers:
        for cache in (cached, plain):
            cache.get(f"/v1/customers/{customer}", api_key=KEY)
    servers.redis_proxy.drop()
    servers.dynamodb_proxy.drop()
    begun, count = time.monotonic(), 0
    while time.monotonic() < begun + SECONDS:
        path = f"/v1/customers/{customers[count % len(customers)]}"
        count += 1
        before = dict(meter.counts)
        began = time.perf_counter()
        answer = cached.get(path, api_key=KEY)
        between = time.perf_counter()
        again = plain.get(path, api_key=KEY)
        ended = time.perf_counter()
        assert answer.data == again.data
        failed = {tier: meter.counts[TIER_ERROR, tier] - before.get((TIER_ERROR, tier), 0) for tier in TIERS}
        extra = ((between - began) - (ended - between)) * 1000
        yield Pair(time.monotonic() - begun, extra, failed["redis"], failed["dynamodb"])
        # A third of the sandbox's limit, which Stripe and the cache keep to as by default.
        time.sleep(max(0.0, 1 / PER_SECOND - (time.perf_counter() - began)))


def _paying(pairs: list[Pair]) -> list[Pair]:
    return [pair for pair in pairs if pair.redis or pair.dynamodb]


def _period(pairs: list[Pair], first: Pair) -> list[Pair]:
    """Return the pairs that paid within one pause of the breaker from `first` on."""
    return [pair for pair in _paying(pairs) if 0 <= pair.at - first.at < PERIOD]


def test_dead_tiers_cost_little_per_breaker_period_and_then_nothing(
    pairs: list[Pair], settings: Settings, say: Callable[[object], None]
) -> None:
    paying = _paying(pairs)
    free = sorted(pair.extra_ms for pair in pairs if pair not in paying)
    for pair in paying:
        say(
            f"after {pair.at:.2f} s: {pair.redis} calls to Redis and {pair.dynamodb} to DynamoDB timed out, "
            f"{pair.waited_ms(settings):.0f} ms by their deadlines, {pair.extra_ms:.0f} ms measured"
        )
    say(f"{len(free)} other reads: {free[len(free) // 2]:.2f} ms more than without a cache, at most {free[-1]:.1f}")
    # Pauses of 1 s, 2 s and 4 s: the first failures and at most three probes of each tier in this time.
    assert 1 <= len(paying) <= 8
    later = [pair for pair in paying if pair not in _period(pairs, paying[0])]
    assert later, "no probe was made"
    for pair in later:
        assert sum(each.waited_ms(settings) for each in _period(pairs, pair)) <= BUDGET_MS
    for pair in paying:
        assert pair.extra_ms <= pair.waited_ms(settings) + BUSY_MS
    assert len(free) > 3 * len(paying)
    assert free[len(free) // 2] < 5.0


def test_the_first_failures_cost_no_more_than_the_budget_either(pairs: list[Pair], settings: Settings) -> None:
    first = _paying(pairs)[0]
    assert sum(each.waited_ms(settings) for each in _period(pairs, first)) <= BUDGET_MS


@pytest.mark.parametrize("kind", ["reads", "writes"])
def test_a_process_alone_is_refused_nothing_that_stripe_would_have_answered(
    servers: Servers, settings: Settings, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With the limits that both sides have by default, at half of them, both tiers dead."""
    for name, value in servers.environment("proxied").items():
        if not name.startswith("STRIPE_CACHE_"):
            monkeypatch.setenv(name, value)
    servers.stripe.reset(state=True)
    servers.stripe.configure(latency={}, limits={"factor": 1}, faults=[])
    (customer,) = servers.stripe.seed(1, 1)["customers"]
    client = StripeCache(settings, engine=build(settings)).client(KEY, max_network_retries=0)
    client.v1.customers.retrieve(customer)

    def call(number: int) -> None:
        time.sleep(number / 12)
        if kind == "reads":
            client.v1.customers.retrieve(customer, options={"headers": {"Cache-Control": "no-cache"}})
        else:
            client.v1.customers.update(customer, params={"name": f"n{number}"})

    servers.redis_proxy.drop()
    servers.dynamodb_proxy.drop()
    try:
        with ThreadPoolExecutor(72) as pool:
            calls = [pool.submit(call, number) for number in range(72)]
            failed = [error for error in (each.exception() for each in calls) if error is not None]
    finally:
        servers.redis_proxy.heal()
        servers.dynamodb_proxy.heal()
    assert failed == []
