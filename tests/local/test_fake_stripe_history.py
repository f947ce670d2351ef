from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import stripe

from local.fake_stripe import forms, reads
from local.fake_stripe.api import Api
from local.fake_stripe.errors import ApiError
from local.fake_stripe.history import digest, history
from local.fake_stripe.seed import plant
from local.fake_stripe.store import Scope, Space
from local.fake_stripe.webhooks import PLATFORM

if TYPE_CHECKING:
    from local.fake_stripe.client import FakeStripe


def test_the_truth_is_what_a_read_would_answer_and_is_not_counted(fake: FakeStripe) -> None:
    ids = fake.seed(2, 1)
    fake.configure(latency={"factor": 1, "low": 5000, "high": 5000})
    fake.reset()
    path = f"/v1/subscriptions/{ids['subscriptions'][0]}?expand[]=customer"
    truth = fake.truth(path)
    assert truth["customer"]["id"] == ids["customers"][0]
    assert fake.counters()["total"] == 0
    fake.configure(latency={})
    client = stripe.StripeClient("sk_test_a", base_addresses={"api": fake.url})
    read = client.v1.subscriptions.retrieve(ids["subscriptions"][0], {"expand": ["customer"]})
    assert digest(read.last_response.data) == digest(truth) == fake.history(path)[-1]["digest"]
    assert fake.truth("/v1/customers/cus_none")["error"]["code"] == "resource_missing"


def test_the_history_of_an_object_tells_which_answer_held_when(fake: FakeStripe) -> None:
    made = fake.mutate("/v1/customers", name="first")
    between = time.time()
    fake.mutate(f"/v1/customers/{made['id']}", name="second")
    fake.mutate(f"/v1/customers/{made['id']}", "DELETE")
    missing, first, second, deleted = fake.history(made["id"], bodies=True)
    assert (missing["status"], missing["since"]) == (404, 0.0)
    assert (first["body"]["name"], second["body"]["name"]) == ("first", "second")
    assert first["since"] < between <= first["until"] == second["since"]
    assert deleted["body"]["deleted"]
    assert deleted["until"] is None
    assert [row["body"]["name"] for row in fake.history(made["id"], since=between, until=between, bodies=True)] == [
        "first"
    ]


def test_a_change_of_an_embedded_object_is_a_change_of_the_answer(fake: FakeStripe) -> None:
    ids = fake.seed(1, 1)
    path = f"/v1/subscriptions/{ids['subscriptions'][0]}"
    before = len(fake.history(path))
    fake.mutate(f"/v1/prices/{ids['prices'][0]}", nickname="renamed")
    fake.mutate("/v1/products", name="unrelated")
    assert len(fake.history(path)) == before + 1


def every_answer(api: Api, space: Space, target: str) -> list[str]:
    """Return the digests of the answers after each change, repeats left out: what history() finds by skipping."""
    path, _, query = target.partition("?")
    match = api.router.match("GET", path)
    assert match is not None
    digests: list[str] = []
    for change in range(space.log_begins[0], space.clock.change + 1):
        try:
            body = reads.answer(space.view(change), match, path, forms.decode(query))
        except ApiError as error:
            body = error.body
        if not digests or digests[-1] != digest(body):
            digests.append(digest(body))
    return digests


def test_history_skips_no_change_that_matters() -> None:
    api = Api(seed=1)
    space = api.store.space(Scope(PLATFORM, livemode=False))
    ids = plant(space, customers=4, products=3, seed=1)
    draw = random.Random(1)  # noqa: S311 -- picks changes, guards nothing

    def do(method: str, path: str, params: dict[str, object]) -> None:
        match = api.router.match(method, path)
        assert match is not None
        api.change(space, match, path, dict(params))

    for step in range(60):
        customer, price = draw.choice(ids["customers"][1:]), draw.choice(ids["prices"])
        match draw.randrange(6):
            case 0:
                do("POST", f"/v1/customers/{customer}", {"name": f"name {step}"})
            case 1:
                do("POST", f"/v1/prices/{price}", {"nickname": f"nick {step}"})
            case 2:
                do("POST", "/v1/subscriptions", {"customer": customer, "items": [{"price": price}]})
            case 3:
                do("POST", f"/v1/customers/{customer}/tax_ids", {"type": "eu_vat", "value": f"{step}"})
            case 4:
                do("POST", f"/v1/products/{draw.choice(ids['products'])}", {"active": draw.random() < 0.5})
            case _:
                do("POST", "/v1/customers", {"name": f"new {step}"})
    do("DELETE", f"/v1/customers/{ids['customers'][1]}", {})
    customer, subscription = ids["customers"][1], ids["subscriptions"][1]
    for target in (
        f"/v1/customers/{customer}",
        f"/v1/customers/{customer}?expand[]=subscriptions&expand[]=tax_ids",
        f"/v1/subscriptions/{subscription}",
        f"/v1/subscriptions/{subscription}?expand[]=customer&expand[]=latest_invoice&expand[]=items.data.price.product",
        f"/v1/subscriptions?customer={customer}&status=all",
        "/v1/subscriptions?limit=3&expand[]=data.customer",
        f"/v1/customers/{customer}/tax_ids",
        "/v1/products?active=true",
        "/v1/prices?limit=2",
    ):
        found = [row["digest"] for row in history(api.router, space, target)]
        assert found == every_answer(api, space, target), target
        assert len(found) > 2, target


def test_many_histories_come_in_one_request(fake: FakeStripe) -> None:
    paths = [f"/v1/customers/{customer}" for customer in fake.seed(50, 0)["customers"]]
    found = fake.histories(paths)
    assert list(found) == paths
    assert {len(rows) for rows in found.values()} == {1}
    fake.mutate(paths[3], name="changed")
    assert [path for path, rows in fake.histories(paths).items() if len(rows) == 2] == [paths[3]]
