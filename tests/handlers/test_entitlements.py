from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from stripe_cache.handlers import entitlements

if TYPE_CHECKING:
    from local.fake_stripe.client import FakeStripe

pytestmark = pytest.mark.usefixtures("environment")


def ask(customer: str) -> tuple[int, dict[str, Any], str]:
    answer = entitlements.handler({"pathParameters": {"customer": customer}}, None)
    return answer["statusCode"], json.loads(answer["body"]), answer["headers"].get("cache-status", "")


def test_it_says_what_a_customer_may_use_and_asks_stripe_once(fake: FakeStripe) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    status, body, told = ask(customer)
    assert status == 200
    (entitlement,) = body["entitlements"]
    price = fake.truth(f"/v1/prices/{entitlement['price']}?expand[]=product")
    assert entitlement["product"] == price["product"]["name"]
    assert entitlement["amount"] == price["unit_amount"]
    assert told.count("fwd=uri-miss") == 3
    calls = fake.counters()["total"]
    assert calls == 3
    status, again, told = ask(customer)
    assert (status, again) == (200, body)
    assert told.count("hit") == 3
    assert fake.counters()["total"] == calls


@pytest.mark.parametrize("customer", ["", "cus_", "price_1", "cus_1/../x", "cus_\n1", "cus_" + "1" * 65])
def test_what_is_no_customer_id_is_refused_without_asking(fake: FakeStripe, customer: str) -> None:
    assert ask(customer)[0] == 400
    assert fake.counters()["total"] == 0


def test_errors_of_stripes_become_answers(fake: FakeStripe) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    assert ask("cus_nobody")[0] == 404
    fake.configure(limits={"factor": 0.0001})
    assert ask(customer)[0] == 429


def test_a_request_that_stripe_refuses_is_not_taken_for_a_customer_that_is_missing(fake: FakeStripe) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    for path in (f"/v1/customers/{customer}", "/v1/subscriptions", "/v1/prices/"):
        fake.configure(faults=[{"kind": "error", "status": 400, "path": path}])
        status, body, _ = ask(customer)
        assert status == 502, path
        assert "no customer" not in body["error"]
    fake.configure(faults=[])
    assert ask(customer)[0] == 200


def test_a_price_that_is_missing_is_no_missing_customer(fake: FakeStripe) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    fake.configure(faults=[{"kind": "error", "status": 404, "path": "/v1/prices/"}])
    assert ask(customer)[0] == 502


def test_every_page_of_subscriptions_counts(fake: FakeStripe) -> None:
    seeded = fake.seed(customers=1)
    customer, price = seeded["customers"][0], seeded["prices"][0]
    for _ in range(entitlements.PAGE):
        fake.mutate("/v1/subscriptions", customer=customer, items=[{"price": price}])
    status, body, _ = ask(customer)
    assert status == 200
    assert len({one["subscription"] for one in body["entitlements"]}) == entitlements.PAGE + 1


def test_a_deleted_customer_may_use_nothing(fake: FakeStripe) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    fake.mutate(f"/v1/customers/{customer}", "DELETE")
    assert ask(customer)[0] == 404
