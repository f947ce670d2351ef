"""localstripe as a second opinion: another implementation of Stripe's API, with and without the cache in between."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from world import PATIENT, status_of

from local.localstripe import Localstripe
from stripe_cache import Settings, StripeCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.valkey import Valkey


@pytest.fixture(scope="module")
def server() -> Iterator[Localstripe]:
    with Localstripe() as running:
        yield running


@pytest.fixture
def clients(server: Localstripe, valkey: Valkey) -> Iterator[tuple[stripe.StripeClient, stripe.StripeClient]]:
    """Yield the cached client and the plain one, with the same key."""
    account = f"acct_{uuid.uuid4().hex[:12]}"
    settings = Settings(
        namespace=account,
        redis_url=valkey.url,
        api_base=server.url,
        events=True,
        memory_max_lag=0.0,
        rate_limits=None,
        **PATIENT,
    )
    inner, key = stripe.RequestsClient(), "sk_test_12345"
    cached = StripeCache(settings).client(key, http_client=inner)
    yield cached, stripe.StripeClient(key, http_client=inner, base_addresses={"api": server.url})
    inner.close()


def test_every_read_equals_the_uncached_clients_before_and_after_every_write(
    clients: tuple[stripe.StripeClient, stripe.StripeClient],
) -> None:
    cached, plain = clients
    made: dict[str, str] = {}
    plan = f"plan_{uuid.uuid4().hex[:8]}"
    reads: dict[str, Callable[[stripe.StripeClient], Any]] = {
        "customer": lambda client: client.v1.customers.retrieve(made["customer"]),
        "product": lambda client: client.v1.products.retrieve(made["product"]),
        "plan": lambda client: client.v1.plans.retrieve(plan),
        "subscription": lambda client: client.v1.subscriptions.retrieve(made["subscription"]),
        "expanded": lambda client: client.v1.subscriptions.retrieve(made["subscription"], {"expand": ["customer"]}),
        "customers": lambda client: client.v1.customers.list({"limit": 50}),
        "products": lambda client: client.v1.products.list({"limit": 50}),
        "plans": lambda client: client.v1.plans.list({"limit": 50}),
        "subscriptions": lambda client: client.v1.subscriptions.list({"customer": made["customer"]}),
        "invoices": lambda client: client.v1.invoices.list({"customer": made["customer"]}),
    }
    price: Any = {"amount": 0, "currency": "usd", "interval": "month"}
    writes: list[tuple[str, Callable[[], Any]]] = [
        ("customer", lambda: cached.v1.customers.create({"email": "ada@example.com"})),
        ("product", lambda: cached.v1.products.create({"name": "Team"})),
        ("plan", lambda: cached.v1.plans.create({"id": plan, "product": made["product"], **price})),
        (
            "subscription",
            lambda: cached.v1.subscriptions.create({"customer": made["customer"], "items": [{"plan": plan}]}),
        ),
        ("customer", lambda: cached.v1.customers.update(made["customer"], {"name": "Ada", "metadata": {"a": "b"}})),
        # Not its name: localstripe copies that into plans, as API versions before 2018-02-05 did.
        ("product", lambda: cached.v1.products.update(made["product"], {"metadata": {"a": "b"}})),
        ("subscription", lambda: cached.v1.subscriptions.update(made["subscription"], {"metadata": {"a": "b"}})),
        ("subscription", lambda: cached.v1.subscriptions.cancel(made["subscription"])),
        ("customer", lambda: cached.v1.customers.update(made["customer"], {"name": "Grace"})),
    ]
    known: set[str] = set()
    compared = hits = 0
    for name, write in writes:
        try:
            # Free, because localstripe wants a payment method for anything else.
            made[name] = write().id
        except stripe.InvalidRequestError as refused:
            # A second opinion may know less than we ask; what it refuses changes nothing, and is no proof either.
            assert name in known, refused  # noqa: PT017 (a creation must succeed)
        known.add(name)
        for read in (reads[one] for one in reads if {"expanded": "subscription"}.get(one, one.rstrip("s")) in known):
            expected = plain_or_error(read, plain)
            for _ in range(2):
                answer = plain_or_error(read, cached)
                assert as_json(answer) == as_json(expected), name
                compared += 1
                hits += not isinstance(answer, tuple) and "hit" in status_of(answer)
    assert compared > 60
    assert hits > compared / 3


def as_json(answer: Any) -> Any:
    return answer if isinstance(answer, tuple) else answer.to_dict()


def plain_or_error(read: Callable[[stripe.StripeClient], Any], client: stripe.StripeClient) -> Any:
    """Return the answer, or the status and message of the refusal."""
    try:
        return read(client)
    except stripe.StripeError as error:
        return (error.http_status, error.user_message)
