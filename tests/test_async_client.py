"""The SDK's asynchronous methods through the cache: the same answers, and an event loop that is never blocked."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from fakes import FaultyTier, RecordingMeter, until
from world import World, status_of

from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.wiring import shared_tiers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fakes import FakeClock
    from tap import Tap

    from stripe_cache import StripeCache

# The SDK hands httpx a body in a way that httpx deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def customer(world: World) -> str:
    return world.seed()["customers"][0]


def run(
    cache: StripeCache, key: str, work: Callable[[stripe.StripeClient], Coroutine[Any, Any, Any]], **options: Any
) -> Any:
    """Run something with a client whose connections are closed on the loop that opened them."""

    async def main() -> Any:
        client = cache.client(key, **options)
        try:
            return await work(client)
        finally:
            await client._requestor._client.close_async()  # type: ignore[union-attr, no-untyped-call]

    return asyncio.run(main())


def test_asynchronous_reads_share_the_cache_with_synchronous_ones(world: World, customer: str) -> None:
    async def work(client: stripe.StripeClient) -> list[str]:
        return [status_of(await client.v1.customers.retrieve_async(customer)) for _ in range(2)]

    statuses = run(world.cache(), world.key(), work)
    assert statuses[0] == "stripe-cache; fwd=uri-miss; stored"
    assert statuses[1].endswith("detail=memory")
    assert status_of(world.client(world.cache()).v1.customers.retrieve(customer)).endswith("detail=redis")
    assert world.origin_reads() == 1


def test_an_asynchronous_write_is_read_back(world: World, customer: str) -> None:
    async def work(client: stripe.StripeClient) -> Any:
        await client.v1.customers.retrieve_async(customer)
        await client.v1.customers.update_async(customer, {"name": "New"})
        return await client.v1.customers.retrieve_async(customer)

    assert run(world.cache(), world.key(), work).name == "New"


def test_directives_and_bypasses_work_the_same(world: World, customer: str) -> None:
    async def work(client: stripe.StripeClient) -> list[str]:
        options: Any = {"headers": {"cache-control": "no-store"}}
        found = [await client.v1.customers.retrieve_async(customer, options=options)]
        searched = await client.v1.customers.search_async({"query": "name:'x'"})
        with pytest.raises(stripe.APIError, match="only-if-cached"):
            await client.v1.customers.retrieve_async(customer, options={"headers": {"Cache-Control": "only-if-cached"}})
        return [status_of(one) for one in (*found, searched)]

    assert run(world.cache(), world.key(), work) == ["stripe-cache; fwd=request", "stripe-cache; fwd=bypass"]


def test_errors_are_the_sdks_own(world: World) -> None:
    async def work(client: stripe.StripeClient) -> None:
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await client.v1.customers.retrieve_async("cus_none")
        assert caught.value.code == "resource_missing"

    run(world.cache(), world.key(), work)


def test_concurrent_coroutines_cause_one_call_of_stripe(world: World, customer: str, tap: Tap) -> None:
    async def work(client: stripe.StripeClient) -> list[Any]:
        tap.gate.clear()
        asked = [asyncio.create_task(client.v1.customers.retrieve_async(customer)) for _ in range(10)]
        flights = cache.engine.reads._flights._flights
        await until(lambda: sum(len(one._done_callbacks) for one in flights.values()) == 9)  # type: ignore[attr-defined]
        tap.gate.set()
        return await asyncio.gather(*asked)

    cache = world.cache(api_base=tap.url)
    answers = run(cache, world.key(), work)
    assert len(tap.seen) == 1
    assert len({str(answer) for answer in answers}) == 1


def test_a_slow_tier_does_not_stop_a_ticking_coroutine(
    world: World, customer: str, clock: FakeClock, meter: RecordingMeter
) -> None:
    tiers = [FaultyTier(tier._tier) for tier in shared_tiers(world.settings("redis"), clock, meter)]  # type: ignore[attr-defined]
    cache = world.cache(clock=clock, meter=meter, shared=(GuardedTier(tiers[0], 60.0, clock, meter),))
    go_on = Event()
    tiers[0].before["read"] = lambda: go_on.wait(60)

    async def work(client: stripe.StripeClient) -> Any:
        reading = asyncio.create_task(client.v1.customers.retrieve_async(customer))
        await until(lambda: "read" in tiers[0].calls, reading)
        for _ in range(50):
            await asyncio.sleep(0)
        assert not reading.done()
        # Only a loop that goes on turning ever comes here.
        go_on.set()
        return await reading

    assert "stored" in status_of(run(cache, world.key(), work))


@pytest.mark.parametrize("who", [0, 1], ids=["leader", "follower"])
def test_a_cancelled_caller_does_not_take_the_others_with_it(world: World, customer: str, tap: Tap, who: int) -> None:
    async def work(client: stripe.StripeClient) -> Any:
        tap.gate.clear()
        flights = cache.engine.reads._flights._flights
        tasks = [asyncio.create_task(client.v1.customers.retrieve_async(customer))]
        await until(lambda: len(tap.seen) == 1, *tasks)
        tasks.append(asyncio.create_task(client.v1.customers.retrieve_async(customer)))
        await until(lambda: any(one._done_callbacks for one in flights.values()), *tasks)  # type: ignore[attr-defined]
        tasks[who].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[who]
        tap.gate.set()
        return await asyncio.wait_for(tasks[1 - who], 60)

    cache = world.cache(api_base=tap.url)
    assert run(cache, world.key(), work).id == customer
    assert len(tap.seen) == 2 - who
    assert len(cache.engine.reads._flights) == 0


def test_asynchronous_streams_pass_through_uncached(world: World, customer: str) -> None:
    async def work(client: stripe.StripeClient) -> None:
        requestor = client.v1.customers._requestor
        for _ in range(2):
            stream = await requestor.request_stream_async("get", f"/v1/customers/{customer}", base_address="api")
            assert customer.encode() in await stream.read_async()

    run(world.cache(), world.key(), work)
    assert world.origin_reads() == 2


def test_a_write_cancelled_while_its_hold_is_being_put_leaves_no_hold_behind(
    world: World, customer: str, clock: FakeClock, meter: RecordingMeter
) -> None:
    """The hold would keep the customer from being cached for a quarter of an hour."""
    tier = FaultyTier(shared_tiers(world.settings("redis"), clock, meter)[0]._tier)  # type: ignore[attr-defined]
    cache = world.cache(clock=clock, meter=meter, shared=(GuardedTier(tier, 60.0, clock, meter),))
    reached, go_on = Event(), Event()

    def dawdle() -> None:
        reached.set()
        assert go_on.wait(60)

    tier.before["void"] = dawdle

    async def work(client: stripe.StripeClient) -> None:
        write = asyncio.create_task(client.v1.customers.update_async(customer, {"name": "New"}))
        await until(reached.is_set, write)
        write.cancel()
        asyncio.get_running_loop().call_soon(go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await write

    run(cache, world.key(), work)
    assert world.plain().v1.customers.retrieve(customer).name != "New", "it was never sent"
    statuses = [status_of(world.client(cache).v1.customers.retrieve(customer)) for _ in range(2)]
    assert "stored" in statuses[0]
    assert "hit" in statuses[1]
