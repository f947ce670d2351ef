"""Rule R4 when the SDK repeats a write: the hold goes only if no attempt may still be performed (promise P4)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import stripe
from world import World, status_of

from stripe_cache.http_client import CachingHTTPClient

if TYPE_CHECKING:
    from collections.abc import Mapping

HELD, FREE = "stripe-cache; fwd=uri-miss", "stripe-cache; fwd=uri-miss; stored"
TIMEOUT = "timeout"
LEFT_OPEN: list[list[Any]] = [
    [TIMEOUT, TIMEOUT, TIMEOUT],
    [TIMEOUT, 409, 409],
    [TIMEOUT, 409, 429],
    [TIMEOUT, 500, 409],
    [503, 429],
    [409, TIMEOUT, 401],
    [500, 500, 500],
    [TIMEOUT, 400],
]
SETTLED: list[list[Any]] = [
    [400],
    [402],
    [404],
    [429],
    [409, 409, 409],
    [200],
    [409, 200],
    [TIMEOUT, 409, 200],
    [500, 200],
]


class Scripted(stripe.RequestsClient):
    """Answers writes from a script, and sends everything else."""

    script: ClassVar[list[Any]] = []

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0

    def _sleep_time_seconds(self, num_retries: int) -> float:
        del num_retries
        return 0.0

    async def sleep_async(self, secs: float) -> None:
        """Waste no time."""

    def request(self, method: str, *args: Any, **options: Any) -> Any:
        return super().request(method, *args, **options) if method == "get" else self._answer()

    async def request_async(self, method: str, *_: Any, **__: Any) -> Any:
        assert method != "get"
        return self._answer()

    async def close_async(self) -> None:
        """There is nothing to close."""

    def _answer(self) -> tuple[str, int, Mapping[str, str]]:
        step = self.script[self.tries]
        self.tries += 1
        if step == TIMEOUT:
            raise stripe.APIConnectionError("no answer in time", should_retry=True)  # type: ignore[no-untyped-call]  # the SDK's
        body = {"id": "cus_1", "object": "customer"} if step == 200 else {"error": {"message": "no"}}
        return json.dumps(body), step, {"stripe-should-retry": "true"} if step == 429 and self._has_more() else {}

    def _has_more(self) -> bool:
        return self.tries < len(self.script)


class Opaque(Scripted):
    """Repeats writes in a way of its own."""

    def request_with_retries(self, method: str, *args: Any, **options: Any) -> Any:
        if method == "get":
            return super().request_with_retries(method, *args, **options)
        while True:
            try:
                answer = self._answer()
            except stripe.APIConnectionError:
                continue
            if not self._has_more():
                return answer


@pytest.fixture
def customer(world: World) -> str:
    return world.seed()["customers"][0]


def write(world: World, customer: str, inner: Scripted, *, colour: str = "sync", verb: str = "update") -> None:
    """Write through a client that repeats what fails, to the end of the script."""
    world.opened.append(inner)
    client = world.cache("redis").client(world.key(), http_client=inner, max_network_retries=len(inner.script) - 1)
    succeeds = inner.script[-1] == 200
    call: Any = getattr(client.v1.customers, verb if colour == "sync" else f"{verb}_async")
    arguments = (customer, {"name": "New"}) if verb == "update" else (customer,)
    try:
        call(*arguments) if colour == "sync" else asyncio.run(call(*arguments))
    except stripe.StripeError:
        assert not succeeds
    else:
        assert succeeds
    assert inner.tries == len(inner.script)


def reading(world: World, customer: str) -> str:
    return status_of(world.client(world.cache("redis")).v1.customers.retrieve(customer))


def scripted(script: list[Any], kind: type[Scripted] = Scripted) -> Scripted:
    return type("Client", (kind,), {"script": script})()  # type: ignore[no-any-return]  # it is one of that kind


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("script", LEFT_OPEN, ids=str)
def test_a_write_of_which_an_attempt_is_open_keeps_its_hold(
    world: World, customer: str, script: list[Any], colour: str
) -> None:
    write(world, customer, scripted(script), colour=colour)
    assert reading(world, customer) == HELD
    # Stripe performs the first attempt at last.
    world.change(f"/v1/customers/{customer}", name="New")
    assert world.client(world.cache("redis")).v1.customers.retrieve(customer).name == "New"


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("script", SETTLED, ids=str)
def test_a_write_of_which_every_attempt_is_settled_lets_go(
    world: World, customer: str, script: list[Any], colour: str
) -> None:
    write(world, customer, scripted(script), colour=colour)
    assert reading(world, customer) == FREE


@pytest.mark.parametrize(("script", "after"), [([200], FREE), ([TIMEOUT, 200], HELD), ([TIMEOUT, 404], HELD)], ids=str)
def test_a_deletion_has_no_key_so_that_its_first_attempt_may_come_after_its_second(
    world: World, customer: str, script: list[Any], after: str
) -> None:
    write(world, customer, scripted(script), verb="delete")
    assert reading(world, customer) == after


@pytest.mark.parametrize(("script", "after"), [([404], FREE), ([TIMEOUT, 200], FREE), ([TIMEOUT, 409], HELD)], ids=str)
def test_a_client_that_cannot_be_watched_is_taken_to_have_repeated_what_it_may(
    world: World, customer: str, script: list[Any], after: str
) -> None:
    write(world, customer, scripted(script, Opaque))
    assert reading(world, customer) == after


def test_a_client_is_watched_once_and_heeds_whoever_replaces_its_method(
    world: World, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, engine = scripted([404]), world.cache("redis").engine
    watched = [CachingHTTPClient(engine, inner).inner.request for _ in range(2)]
    assert watched[0] is watched[1], "each turn would call the one before, to the end of the stack"
    write(world, customer, inner)
    later = scripted([404])
    world.opened.append(later)
    client = world.cache("redis").client(world.key(), http_client=later, max_network_retries=0)
    sent: list[str] = []

    def answer(_self: Any, method: str, *_: Any, **__: Any) -> tuple[str, int, dict[str, str]]:
        sent.append(method)
        return json.dumps({"id": "cus_1", "object": "customer"}), 200, {}

    monkeypatch.setattr(type(later), "request", answer)
    client.v1.customers.update(customer, {"name": "New"})
    assert sent == ["post"]
