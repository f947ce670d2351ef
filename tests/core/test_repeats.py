"""Attempts that the SDK makes by itself are requests like any other: each takes a token, and ends in time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from origin_help import KEY, Metrics, calls, exhaust

from stripe_cache.core.origin import OriginCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.fake_stripe.client import FakeStripe
    from stripe_cache import StripeCache

COLOURS = ["sync", "async"]
RETRIES = 2


def ask(cache: StripeCache, customer: str, colour: str, *, write: bool = False, **params: Any) -> stripe.Customer:
    """Ask through a client that repeats what fails."""
    http_client = cache.http_client()
    bases: Any = {"api": cache.settings.api_base}
    client = stripe.StripeClient(KEY, http_client=http_client, base_addresses=bases, max_network_retries=RETRIES)
    customers = client.v1.customers

    async def ask_async() -> stripe.Customer:
        try:
            if write:
                return await customers.update_async(customer, params=params)  # type: ignore[arg-type]  # as the test says
            return await customers.retrieve_async(customer)
        finally:
            await http_client.close_async()  # type: ignore[no-untyped-call]  # the SDK leaves it unannotated

    if colour == "async":
        return asyncio.run(ask_async())
    return customers.update(customer, params=params) if write else customers.retrieve(customer)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.01)
    monkeypatch.setattr(stripe.HTTPClient, "MAX_DELAY", 0.02)


@pytest.mark.parametrize("colour", COLOURS)
def test_each_attempt_takes_a_token(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe, colour: str
) -> None:
    meter = Metrics()
    cache = make(None, meter, rate_limits={"test": 10, "reserve": 0.0}, origin_wait=30.0)
    fake.configure(faults=[{"kind": "error", "status": 503, "count": 2}])
    assert ask(cache, customer, colour).id == customer
    assert calls(fake) == 3
    assert meter.counts["OriginCall"] == meter.counts["OriginReads"] == 3


# httpx says so of what the SDK sends as a form.
@pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")
@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
@pytest.mark.parametrize("colour", COLOURS)
def test_an_attempt_that_has_no_token_in_time_is_not_made_and_the_last_failure_stands(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe, colour: str, *, write: bool
) -> None:
    cache = make(rate_limits={"test": 1, "endpoint": 1, "reserve": 0.0}, origin_wait=0.1)
    fake.configure(faults=[{"kind": "error", "status": 503}])
    refuses_writes(cache)
    with pytest.raises(stripe.APIError) as caught:
        ask(cache, customer, colour, write=write, name="x")
    assert caught.value.http_status == 503
    assert calls(fake) == 1


@pytest.mark.parametrize("colour", COLOURS)
def test_a_connection_that_failed_is_what_the_caller_sees_when_there_is_no_token_for_more(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe, colour: str
) -> None:
    cache = make(rate_limits={"test": 1, "endpoint": 1, "reserve": 0.0}, origin_wait=0.1)
    fake.configure(faults=[{"kind": "drop"}])
    with pytest.raises(stripe.APIConnectionError):
        ask(cache, customer, colour)
    assert calls(fake) == 1


def test_an_attempt_waits_for_its_turn(make: Callable[..., StripeCache], customer: str, fake: FakeStripe) -> None:
    cache = make(rate_limits={"test": 4, "endpoint": 4, "reserve": 0.0}, origin_wait=60.0)
    exhaust(cache)
    fake.configure(faults=[{"kind": "error", "status": 503, "count": 2}])
    began = time.monotonic()
    assert ask(cache, customer, "sync").id == customer
    assert time.monotonic() - began > 0.5, "three turns of a quarter of a second each"


def test_without_limits_attempts_are_made_as_ever(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe
) -> None:
    cache = make(rate_limits=None)
    fake.configure(faults=[{"kind": "error", "status": 503}])
    with pytest.raises(stripe.APIError):
        ask(cache, customer, "sync")
    assert calls(fake) == 1 + RETRIES


def test_of_a_read_with_a_stale_entry_all_attempts_together_end_early(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stripe_cache.core.deadline.STALE_READ", 0.3)
    cache = make(rate_limits=None)
    fake.configure(faults=[{"kind": "hang"}])
    inner = cache.http_client().inner  # type: ignore[attr-defined]
    call = OriginCall("acct_1.test", "get", fake.url, f"/v1/customers/{customer}", has_stale=True, repeatable=False)
    headers = {"Authorization": f"Bearer {KEY}"}

    def send() -> Any:
        return inner.request_with_retries("get", f"{fake.url}/v1/customers/{customer}", headers, max_network_retries=50)

    began = time.monotonic()
    with pytest.raises(stripe.APIConnectionError):
        cache.engine.gate.call(call, send)
    assert time.monotonic() - began < 8, "fifty attempts of 0.3 s each would take 15"
    assert cache.engine.gate.is_open(fake.url)


def refuses_writes(cache: StripeCache) -> None:
    """Have the limiter be as certain of a write as it is where Redis counts."""
    limiter = cache.engine.gate.limiter
    assert limiter is not None
    ask_limiter = limiter.ask
    limiter.ask = lambda demand: ask_limiter(replace(demand, refusable=True))  # type: ignore[method-assign]
