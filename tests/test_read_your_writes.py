"""P3: after a write through the client, nobody reads what was before it, whatever became of the answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from fakes import FakeClock, FaultyTier, RecordingMeter, until
from world import World, status_of

from stripe_cache.core import metrics
from stripe_cache.core.protocol import HOLD_SECONDS
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.wiring import shared_tiers

if TYPE_CHECKING:
    from tap import Tap

    from stripe_cache import StripeCache


@pytest.fixture
def customer(world: World) -> str:
    return world.seed()["customers"][0]


Writes = "dict[str, Callable[[Any, str], object]]"
WRITES: Writes = {
    "update": lambda client, customer: client.v1.customers.update(customer, {"name": "New"}),
    "delete": lambda client, customer: client.v1.customers.delete(customer),
    "raw": lambda client, customer: client.raw_request("post", f"/v1/customers/{customer}", name="New"),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_write_is_read_back_at_once_by_this_and_every_other_process(world: World, customer: str, write: str) -> None:
    writer, other = world.client(world.cache()), world.client(world.cache(memory_max_lag=0.0))
    for client in (writer, other):
        client.v1.customers.retrieve(customer)
        client.v1.customers.list({"limit": 5})
    WRITES[write](writer, customer)
    truth = world.plain().v1.customers.retrieve(customer)
    listed = [one.id for one in world.plain().v1.customers.list({"limit": 5}).data]
    for client in (writer, other):
        assert client.v1.customers.retrieve(customer) == truth
        assert [one.id for one in client.v1.customers.list({"limit": 5}).data] == listed


def test_a_creation_appears_in_the_lists_it_belongs_to(world: World, customer: str) -> None:
    client = world.client(world.cache())
    price = world.seed()["prices"][0]
    before = [client.v1.subscriptions.list({"customer": customer}), client.v1.subscriptions.list({})]
    client.v1.subscriptions.create({"customer": customer, "items": [{"price": price}]})
    after = [client.v1.subscriptions.list({"customer": customer}), client.v1.subscriptions.list({})]
    assert [len(new.data) - len(old.data) for old, new in zip(before, after, strict=True)] == [1, 1]


def test_an_answer_that_embeds_what_was_written_is_void_too(world: World, customer: str) -> None:
    client = world.client(world.cache())
    subscription = client.v1.subscriptions.list({"customer": customer}).data[0].id
    ask: Any = {"expand": ["customer"]}
    client.v1.subscriptions.retrieve(subscription, ask)
    client.v1.customers.update(customer, {"name": "New"})
    read = client.v1.subscriptions.retrieve(subscription, ask)
    assert read.customer.name == "New"  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["drop", "error"])
def test_a_write_that_was_done_and_not_answered_is_read_back(world: World, customer: str, kind: str) -> None:
    cache = world.cache()
    client = world.client(cache, max_network_retries=0)
    client.v1.customers.retrieve(customer)
    world.fake.configure(faults=[{"kind": kind, "after": True, "path": "POST"}])
    with pytest.raises(stripe.StripeError):
        client.v1.customers.update(customer, {"name": "New"})
    assert client.v1.customers.retrieve(customer).name == "New"
    stays = status_of(client.v1.customers.retrieve(customer))
    assert stays == "stripe-cache; fwd=uri-miss", "nobody can say when Stripe will have done it: the hold stays"


def test_a_write_whose_answer_timed_out_is_read_back(world: World, customer: str) -> None:
    cache = world.cache()
    inner = stripe.RequestsClient(timeout=1.0)
    world.opened.append(inner)
    client = cache.client(world.key(), http_client=inner, max_network_retries=0)
    client.v1.customers.retrieve(customer)
    world.fake.configure(faults=[{"kind": "hang", "after": True, "path": "POST"}])
    with pytest.raises(stripe.APIConnectionError):
        client.v1.customers.update(customer, {"name": "New"})
    assert client.v1.customers.retrieve(customer).name == "New"


def test_nothing_is_cached_while_a_write_is_in_flight(world: World, customer: str, tap: Tap) -> None:
    writer, reader = world.client(world.cache(), base_addresses={"api": tap.url}), world.client(world.cache())
    world.client(world.cache()).v1.customers.retrieve(customer)
    asked: list[str] = []

    async def main() -> None:
        tap.gate.clear()
        write = asyncio.create_task(asyncio.to_thread(writer.v1.customers.update, customer, {"name": "New"}))
        await until(lambda: len(tap.seen) == 1, write)
        asked.extend([status_of(await asyncio.to_thread(reader.v1.customers.retrieve, customer)) for _ in range(2)])
        tap.gate.set()
        await write

    asyncio.run(main())
    assert asked == ["stripe-cache; fwd=uri-miss"] * 2
    assert reader.v1.customers.retrieve(customer).name == "New"
    assert "hit" in status_of(reader.v1.customers.retrieve(customer))


def test_a_writer_that_died_holds_its_records_for_minutes_and_no_longer(
    world: World, customer: str, clock: FakeClock
) -> None:
    class Dying(stripe.RequestsClient):
        def request_with_retries(self, method: str, *args: Any, **options: Any) -> Any:
            answer = super().request_with_retries(method, *args, **options)
            if method == "post":
                # What a killed process does not do: everything behind the answer.
                cache.engine.invalidator.invalidate = lambda *_: {}  # type: ignore[method-assign]
            return answer

    cache = world.cache(clock=clock)
    inner = Dying()
    world.opened.append(inner)
    cache.client(world.key(), http_client=inner).v1.customers.update(customer, {"name": "New"})
    survivor = world.client(world.cache("redis", "dynamodb", clock=clock))
    for _ in range(2):
        assert status_of(survivor.v1.customers.retrieve(customer)) == "stripe-cache; fwd=uri-miss"
    clock.advance(HOLD_SECONDS + 1)
    assert status_of(survivor.v1.customers.retrieve(customer)) == "stripe-cache; fwd=uri-miss; stored"


def breakable(world: World, clock: FakeClock, meter: RecordingMeter) -> tuple[StripeCache, dict[str, FaultyTier]]:
    """Make a cache over the real shared tiers, each with a fault double inside its guard."""
    faulty = {
        tier.name: FaultyTier(tier._tier)  # type: ignore[attr-defined]
        for tier in shared_tiers(world.settings(), clock, meter)
    }
    guarded = tuple(GuardedTier(tier, 60.0, clock, meter) for tier in faulty.values())
    return world.cache("redis", "dynamodb", clock=clock, meter=meter, shared=guarded), faulty


@pytest.mark.parametrize("dead", ["redis", "dynamodb"])
def test_a_write_with_a_dead_tier_succeeds_and_is_read_back_after_its_return(
    world: World, customer: str, clock: FakeClock, meter: RecordingMeter, dead: str
) -> None:
    cache, tiers = breakable(world, clock, meter)
    client = world.client(cache)
    client.v1.customers.retrieve(customer)
    tiers[dead].kill()
    assert client.v1.customers.update(customer, {"name": "New"}).name == "New"
    assert client.v1.customers.retrieve(customer).name == "New"
    assert meter.counts[metrics.INVALIDATION_FAILED, dead] > 0
    tiers[dead].revive()
    clock.advance(60)
    # The tier is back with the old value in it, and the other one is of no help: it is told before it is read.
    next(tier for name, tier in tiers.items() if name != dead).losing.add("read")
    assert client.v1.customers.retrieve(customer).name == "New"
    assert world.client(world.cache(dead)).v1.customers.retrieve(customer).name == "New"


def test_questions_sent_as_posts_void_nothing(world: World, customer: str) -> None:
    client = world.client(world.cache())
    client.v1.customers.retrieve(customer)
    client.v1.invoices.create_preview({"customer": customer})
    assert "hit" in status_of(client.v1.customers.retrieve(customer))


# The SDK hands httpx a body in a way that httpx deprecates.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_a_write_cancelled_in_flight_leaves_no_old_value_and_its_hold_until_it_ends(
    world: World, customer: str, tap: Tap
) -> None:
    cache = world.cache(api_base=tap.url)
    client = cache.client(world.key(), max_network_retries=0)
    world.client(cache).v1.customers.retrieve(customer)

    async def main() -> None:
        tap.gate.clear()
        write = asyncio.create_task(client.v1.customers.update_async(customer, {"name": "New"}))
        await until(lambda: tap.seen[-1].method == "POST", write)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
        tap.gate.set()
        await until(lambda: len(tap.answered) == len(tap.seen))
        await client._requestor._client.close_async()  # type: ignore[union-attr, no-untyped-call]

    asyncio.run(main())
    reader = world.client(cache)
    assert reader.v1.customers.retrieve(customer).name == "New"
    assert status_of(reader.v1.customers.retrieve(customer)) == "stripe-cache; fwd=uri-miss"
