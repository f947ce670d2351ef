"""Stripe's own errors reach the caller as they would without the cache, and what is refused is never cached."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from world import World, status_of

from stripe_cache import NotCachedError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable


def told(read: Callable[[], object]) -> dict[str, Any]:
    """Return everything a caller can see of the error, but for the id of the request."""
    with pytest.raises(stripe.StripeError) as caught:
        read()
    error: Any = caught.value
    return {
        "class": type(error),
        "status": error.http_status,
        "code": error.code,
        "param": getattr(error, "param", None),
        "json": error.json_body,
        "body": error.http_body,
        "message": error.user_message,
        "has_request_id": bool(error.request_id),
        "retry": error.should_retry if hasattr(error, "should_retry") else None,
    }


FAULTS: dict[str, dict[str, Any]] = {
    "500": {"kind": "error", "status": 500},
    "503": {"kind": "error", "status": 503},
    "lock": {"kind": "lock_timeout"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_origins_failures_look_the_same(world: World, fault: str) -> None:
    customer, key = world.seed()["customers"][0], world.key()
    world.fake.configure(faults=[FAULTS[fault]])
    cache = world.cache()
    expected = told(lambda: world.plain(key, max_network_retries=0).v1.customers.retrieve(customer))
    client = world.client(cache, key, max_network_retries=0)
    assert told(lambda: client.v1.customers.retrieve(customer)) == expected
    assert told(lambda: cache.get(f"/v1/customers/{customer}", api_key=key)) == expected


def test_a_dropped_connection_looks_the_same(world: World) -> None:
    customer, key = world.seed()["customers"][0], world.key()
    world.fake.configure(faults=[{"kind": "drop"}])
    for client in (world.plain(key, max_network_retries=0), world.client(world.cache(), key, max_network_retries=0)):
        with pytest.raises(stripe.APIConnectionError):
            client.v1.customers.retrieve(customer)


@pytest.mark.parametrize("case", ["missing", "unauthorized", "forbidden", "invalid"])
def test_refusals_look_the_same_and_are_never_cached(world: World, case: str) -> None:
    customer = world.seed()["customers"][0]
    key = {"unauthorized": "sk_test_revoked", "forbidden": world.key(kind="rk")}.get(case, world.key())
    if case == "unauthorized":
        world.fake.configure(revoked=[key])
    path = "/v1/customers/cus_none" if case == "missing" else f"/v1/customers/{customer}"
    params = {"expand": ["nothing_like_it"]} if case == "invalid" else {}
    cache = world.cache()
    expected = told(lambda: world.plain(key).raw_request("get", path, **params))
    client = world.client(cache, key)
    world.fake.reset()
    for _ in range(2):
        assert told(lambda: client.raw_request("get", path, **params)) == expected
        assert told(lambda: cache.get(path, params, api_key=key)) == expected
    assert world.origin_reads() == 4


def test_a_missing_object_is_found_as_soon_as_it_exists(world: World) -> None:
    client = world.client(world.cache())
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.products.retrieve("prod_late")
    world.change("/v1/products", id="prod_late", name="Late")
    assert client.v1.products.retrieve("prod_late").name == "Late"


def test_the_tombstone_of_a_deleted_customer_is_an_answer_like_any_other(world: World) -> None:
    client, customer = world.client(world.cache()), world.seed()["customers"][0]
    client.v1.customers.retrieve(customer)
    client.v1.customers.delete(customer)
    seen = [client.v1.customers.retrieve(customer) for _ in range(2)]
    assert [one.to_dict() for one in seen] == [{"id": customer, "object": "customer", "deleted": True}] * 2
    assert "fwd=uri-miss" in status_of(seen[0])
    assert "hit" in status_of(seen[1])


@pytest.mark.parametrize(
    ("limit", "word"), [({"factor": 0.0001}, "stale-on-429"), (None, "stale-if-error")], ids=["429", "500"]
)
def test_a_stale_entry_answers_for_an_origin_that_cannot_and_says_so(
    world: World, clock: Any, limit: dict[str, float] | None, word: str
) -> None:
    customer = world.seed()["customers"][0]
    client = world.client(
        world.cache(clock=clock, policy={"customer": {"ttl": 100, "stale_window": 1000}}), max_network_retries=0
    )
    first = client.v1.customers.retrieve(customer)
    clock.advance(200)
    if limit:
        world.fake.configure(limits=limit)
    else:
        world.fake.configure(faults=[{"kind": "error", "status": 500}])
    stale = client.v1.customers.retrieve(customer)
    assert stale == first
    # An entry lives up to a tenth less than its TTL.
    assert re.match(r"stripe-cache; hit; ttl=-1(0\d|10);", status_of(stale))
    assert word in status_of(stale)
    clock.advance(1000)
    with pytest.raises(stripe.StripeError):
        client.v1.customers.retrieve(customer)


def test_an_invalidated_entry_never_answers_for_the_origin(world: World, clock: Any) -> None:
    customer = world.seed()["customers"][0]
    cache = world.cache(clock=clock, policy={"customer": {"ttl": 100, "stale_window": 1000}})
    client = world.client(cache, max_network_retries=0)
    client.v1.customers.retrieve(customer)
    clock.advance(200)
    cache.invalidate(customer)
    world.fake.configure(faults=[{"kind": "error", "status": 500}])
    with pytest.raises(stripe.APIError):
        client.v1.customers.retrieve(customer)


def test_a_plain_read_that_may_not_ask_the_origin_says_so(world: World) -> None:
    with pytest.raises(NotCachedError, match="cus_1"):
        world.cache().get("/v1/customers/cus_1", api_key=world.key(), cache_control="only-if-cached")
    assert world.origin_reads() == 0


@pytest.mark.parametrize(
    "path", ["v1/customers", "/v3/x", "https://api.stripe.com/v1/x", "/v1/a b", "/v1/a\n", "/v1/ü"]
)
def test_a_path_that_is_none_is_named(world: World, path: str) -> None:
    with pytest.raises(RequestError, match=r"is no path: it starts with /v1/ or /v2/"):
        world.cache().get(path, api_key=world.key())


@pytest.mark.parametrize("key", ["", "sk_test_\n", "sk_tést"])
def test_a_key_that_is_none_is_refused_without_being_shown(world: World, key: str) -> None:
    with pytest.raises(RequestError, match="api_key must be") as refused:
        world.cache().get("/v1/customers/cus_1", api_key=key)
    assert not key or key not in str(refused.value)


def test_an_id_with_control_characters_is_asked_of_stripe_and_never_cached(world: World) -> None:
    cache = world.cache()
    for _ in range(2):
        with pytest.raises(stripe.InvalidRequestError):
            cache.get("/v1/customers/cus%0a1", api_key=world.key())
    assert world.origin_reads() == 2
    with pytest.raises(RequestError, match="cannot name a record"):
        cache.invalidate("cus\n1")
