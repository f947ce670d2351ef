"""Each read is counted once, by how it ended, and what Stripe was spared follows from that."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import stripe
from fakes import FakeClock, RecordingMeter, until
from world import status_of

from stripe_cache import NotCachedError
from stripe_cache.core import metrics

if TYPE_CHECKING:
    from tap import Tap
    from world import World

ENDS = (metrics.HIT, metrics.STALE_SERVED, metrics.MISS, metrics.BYPASS)
POLICY = {"customer": {"ttl": 100, "stale_window": 1000}}


class Ends(RecordingMeter):
    """Counts what a dashboard would find without a tier: what concerns a tier alone is no read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()

    def count(self, metric: str, value: float = 1, *, tier: str = "", object_type: str = "") -> None:
        super().count(metric, value, tier=tier, object_type=object_type)
        if object_type or not tier:
            self.reads[metric] += int(value)

    @property
    def partition(self) -> dict[str, int]:
        """Return how reads ended, and how many calls that took."""
        return {name: self.reads[name] for name in (*ENDS, metrics.ORIGIN_READS) if self.reads[name]}

    @property
    def saved(self) -> int:
        """Return what the dashboard says of it."""
        return sum(self.reads[name] for name in ENDS) - self.reads[metrics.ORIGIN_READS]


@pytest.mark.parametrize("tiers", [("redis",), ("dynamodb",), ("memory", "redis", "dynamodb")])
@pytest.mark.parametrize("status", [500, 429])
def test_a_stale_answer_after_a_failed_call_is_one_read_and_saves_nothing(
    world: World, tiers: tuple[str, ...], status: int
) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    clock, meter = FakeClock(), Ends()
    cache = world.cache(*tiers, clock=clock, meter=meter, policy=POLICY)
    client = world.client(cache, max_network_retries=0)
    client.v1.customers.retrieve(customer)
    client.v1.customers.retrieve(customer)
    assert meter.partition == {"Miss": 1, "Hit": 1, "OriginReads": 1}
    clock.advance(200)
    world.fake.configure(faults=[{"kind": "error", "status": status, "count": 1}])
    assert "stale-" in status_of(client.v1.customers.retrieve(customer))
    assert meter.partition == {"Miss": 1, "Hit": 1, "StaleServed": 1, "OriginReads": 2}
    assert meter.saved == 1
    accepted = client.v1.customers.retrieve(customer, options={"headers": {"Cache-Control": "max-stale"}})
    assert "max-stale" in status_of(accepted)
    assert meter.partition == {"Miss": 1, "Hit": 1, "StaleServed": 2, "OriginReads": 2}
    assert meter.saved == 2


def test_a_failure_that_nothing_covers_is_a_miss(world: World) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    meter = Ends()
    client = world.client(world.cache(meter=meter), max_network_retries=0)
    world.fake.configure(faults=[{"kind": "error", "status": 500, "count": 2}])
    for _ in range(2):
        with pytest.raises(stripe.StripeError):
            client.v1.customers.retrieve(customer)
    assert meter.partition == {"Miss": 2, "OriginReads": 2}


def test_reads_past_the_cache_are_bypasses_and_writes_are_no_reads(world: World) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    meter = Ends()
    cache = world.cache(meter=meter)
    client = world.client(cache)
    client.v1.customers.retrieve(customer, options={"headers": {"Cache-Control": "no-store"}})
    client.v1.events.list()
    client.v1.customers.update(customer, params={"name": "New"})
    assert meter.partition == {"Bypass": 2, "OriginReads": 2}
    with pytest.raises(NotCachedError):
        cache.get(f"/v1/customers/{customer}", api_key=world.key(), cache_control="only-if-cached")
    assert meter.partition == {"Bypass": 2, "OriginReads": 2}


def test_readers_that_share_a_call_save_one_each(world: World, tap: Tap) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    meter = Ends()
    cache = world.cache("memory", "redis", meter=meter, api_base=tap.url)
    tap.gate.clear()
    with ThreadPoolExecutor(4) as threads:
        reads = [threads.submit(cache.get, f"/v1/customers/{customer}", api_key=world.key()) for _ in range(4)]
        asyncio.run(until(lambda: bool(tap.seen)))
        tap.gate.set()
        told = [read.result().status for read in reads]
    counted = meter.partition
    assert counted.pop("OriginReads") == 1
    assert sum(counted.values()) == 4
    assert counted["Miss"] == 1 + sum(status.collapsed and not status.hit for status in told)
    assert meter.saved == 3


def test_an_audit_is_a_call_and_no_read(world: World) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    meter = Ends()
    cache = world.cache(meter=meter, audit_rate=1.0)
    cache.get(f"/v1/customers/{customer}", api_key=world.key())
    world.change(f"/v1/customers/{customer}", name="Behind its back")
    cache.get(f"/v1/customers/{customer}", api_key=world.key())
    assert meter.reads[metrics.AUDIT_STALE] == 1
    assert meter.partition == {"Miss": 1, "Hit": 1, "OriginReads": 2}
    assert meter.saved == 0
