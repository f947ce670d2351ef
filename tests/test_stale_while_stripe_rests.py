"""While Stripe is known to be down, a stale answer costs one look into each tier, and is as true as any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import stripe
from fakes import FaultyTier

from stripe_cache.core.breaker import FIRST_PAUSE
from stripe_cache.core.freshness import EARLY_WINDOW
from stripe_cache.core.origin import FAILURES_TO_OPEN
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.wiring import shared_tiers

if TYPE_CHECKING:
    from fakes import FakeClock, RecordingMeter
    from world import World

    from stripe_cache import StripeCache
    from stripe_cache.core.answer import Answer

TTL = 100.0
POLICY = {"customer": {"ttl": TTL, "ttl_with_events": TTL, "redis_ttl": TTL, "stale_window": 1000}}


class Outage:
    """A cache over the real tiers, each with a fault double inside its guard, and two customers that are in it."""

    def __init__(self, world: World, clock: FakeClock, meter: RecordingMeter) -> None:
        self.world, self.clock = world, clock
        settings = world.settings("redis", "dynamodb")
        self.tiers = {
            tier.name: FaultyTier(tier._tier)  # type: ignore[attr-defined]
            for tier in shared_tiers(settings, clock, meter)
        }
        guarded = tuple(GuardedTier(tier, 60.0, clock, meter) for tier in self.tiers.values())
        self.cache = world.cache("redis", "dynamodb", clock=clock, meter=meter, shared=guarded, policy=POLICY)
        # Without a default payment method: an answer that notes no other record is read with one look.
        self.customer, self.other = (world.change("/v1/customers", name=name)["id"] for name in ("one", "other"))
        for one in (self.customer, self.other):
            self.read(one)

    def read(self, customer: str = "", **wishes: Any) -> Answer:
        return self.cache.get(f"/v1/customers/{customer or self.customer}", api_key=self.world.key(), **wishes)

    def strike(self) -> None:
        """Let Stripe fail, and the reads of the other customer find out."""
        self.world.fake.configure(faults=[{"kind": "error"}])
        for _ in range(FAILURES_TO_OPEN):
            self.read(self.other)
        assert self.cache.engine.gate.is_resting(f"{self.world.fake.url}/v1/customers")
        for tier in self.tiers.values():
            tier.calls.clear()

    def asked(self) -> dict[str, list[str]]:
        return {name: tier.calls for name, tier in self.tiers.items()}


@pytest.fixture
def outage(world: World, clock: FakeClock, meter: RecordingMeter) -> Outage:
    return Outage(world, clock, meter)


def elsewhere(outage: Outage) -> StripeCache:
    return outage.world.cache("redis", "dynamodb", clock=outage.clock)


def test_it_costs_one_look_into_each_shared_tier(outage: Outage) -> None:
    outage.clock.advance(2 * TTL)
    outage.strike()
    answer = outage.read()
    assert answer.status.detail.endswith("; stale-if-error")
    assert outage.asked() == {"redis": ["read"], "dynamodb": ["read"]}


def test_what_was_invalidated_by_anybody_is_gone(outage: Outage) -> None:
    outage.clock.advance(2 * TTL)
    outage.strike()
    elsewhere(outage).invalidate(outage.customer)
    with pytest.raises(stripe.APIError):
        outage.read()
    assert outage.read(outage.other).status.stale


@pytest.mark.parametrize("dead", ["redis", "dynamodb"])
def test_a_tier_that_missed_an_invalidation_of_this_process_does_not_answer(outage: Outage, dead: str) -> None:
    client = outage.world.client(outage.cache, max_network_retries=0)
    outage.clock.advance(2 * TTL)
    outage.strike()
    outage.tiers[dead].failing = dict.fromkeys(("void", "count"), RuntimeError("not told"))
    with pytest.raises(stripe.APIError):
        client.v1.customers.update(outage.customer, {"name": "perhaps"})
    with pytest.raises(stripe.APIError):
        outage.read()


def test_a_fresh_answer_in_a_lower_tier_is_the_better_one(outage: Outage) -> None:
    outage.clock.advance(2 * TTL)
    outage.tiers["redis"].failing = {"store": RuntimeError("no room")}
    assert outage.read().status.stored
    outage.tiers["redis"].revive()
    outage.clock.advance(2.0)
    outage.strike()
    answer = outage.read()
    assert (answer.status.detail, answer.status.stale) == ("dynamodb", False)


def test_whoever_comes_when_the_pause_is_over_tries_for_all(outage: Outage) -> None:
    outage.clock.advance(2 * TTL)
    outage.strike()
    before = outage.world.origin_reads()
    outage.world.change(f"/v1/customers/{outage.customer}", name="New")
    for _ in range(3):
        assert outage.read().status.stale
    assert outage.world.origin_reads() == before
    outage.world.fake.configure(faults=[])
    outage.clock.advance(FIRST_PAUSE)
    answer = outage.read()
    assert (answer.data["name"], answer.status.stored) == ("New", True)
    assert outage.read().status.ttl > 0


def test_a_critical_read_is_sent_all_the_same(outage: Outage) -> None:
    outage.clock.advance(2 * TTL)
    outage.strike()
    before = outage.world.origin_reads()
    assert outage.read(cache_control="critical").status.stale, "it failed, and there is the entry"
    assert outage.world.origin_reads() == before + 1


def test_nothing_is_renewed_early_in_vain(outage: Outage) -> None:
    outage.cache.engine.gate.latencies.note("customer", 1e6)
    left = outage.read().status.ttl
    outage.clock.advance(left - EARLY_WINDOW + 1)
    outage.world.fake.configure(faults=[{"kind": "error"}])
    while not outage.cache.engine.gate.is_resting(f"{outage.world.fake.url}/v1/customers"):
        assert not outage.read().status.stale
    outage.tiers["redis"].calls.clear()
    answer = outage.read()
    assert (answer.status.detail, answer.status.stale) == ("redis", False)
    assert outage.tiers["redis"].calls == ["read"]
