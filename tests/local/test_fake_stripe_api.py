from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING

import pytest
import stripe

from local.fake_stripe.client import FakeStripe
from local.fake_stripe.operations import router

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def client(fake: FakeStripe) -> stripe.StripeClient:
    return client_of(fake)


def client_of(fake: FakeStripe, key: str = "sk_test_a", **options: str) -> stripe.StripeClient:
    return stripe.StripeClient(key, base_addresses={"api": fake.url}, **options)


def raw(fake: FakeStripe, method: str, path: str, body: str | None = None) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=10)
    try:
        connection.request(method, path, body, {"Authorization": "Bearer sk_test_a"})
        response = connection.getresponse()
        return response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


def test_it_listens_on_loopback_only(fake: FakeStripe, assert_loopback_only: Callable[[int], None]) -> None:
    assert_loopback_only(fake.port)


def test_lists_page_through_everything_in_both_directions(fake: FakeStripe, client: stripe.StripeClient) -> None:
    ids = fake.seed(25, 0)["customers"]
    newest_first = [each.id for each in client.v1.customers.list({"limit": 10}).auto_paging_iter()]
    assert newest_first == ids[::-1]
    page = client.v1.customers.list({"limit": 10, "ending_before": ids[0]})
    assert [each.id for each in page.data] == newest_first[14:24]
    assert page.has_more


def test_lists_filter_by_fields_ids_and_times(fake: FakeStripe, client: stripe.StripeClient) -> None:
    ids = fake.seed(5, 2)
    first = client.v1.customers.retrieve(ids["customers"][0])
    assert [each.id for each in client.v1.customers.list({"email": str(first.email)}).data] == [first.id]
    assert len(client.v1.customers.list({"created": {"gte": first.created}}).data) == 5
    assert client.v1.customers.list({"created": {"gt": first.created + 100}}).data == []
    assert [each.id for each in client.v1.prices.list({"lookup_keys": ["plan-1"]}).data] == [ids["prices"][1]]
    assert [each.id for each in client.v1.prices.list({"product": ids["products"][0]}).data] == [ids["prices"][0]]
    client.v1.prices.update(ids["prices"][0], {"active": False})
    assert [each.id for each in client.v1.prices.list({"active": True}).data] == [ids["prices"][1]]
    invoices = client.v1.invoices.list({"subscription": ids["subscriptions"][3]})
    assert [each.id for each in invoices.data] == [ids["invoices"][3]]
    listed = client.v1.subscriptions.list({"customer": first.id, "expand": ["data.customer"]})
    assert listed.data[0].customer.email == first.email


@pytest.mark.parametrize("limit", ["0", "101", "x"])
def test_an_impossible_limit_is_refused(fake: FakeStripe, limit: str) -> None:
    status, body, _ = raw(fake, "GET", f"/v1/customers?limit={limit}")
    assert (status, json.loads(body)["error"]["param"]) == (400, "limit")


def test_search_finds_by_fields_metadata_and_parts(fake: FakeStripe, client: stripe.StripeClient) -> None:
    fake.seed(12, 0)
    second = client.v1.customers.search({"query": 'metadata["tenant"]:"tenant-1"'})
    assert [each.email for each in second.data if each.email] == [second.data[0].email]
    assert len(client.v1.customers.search({"query": 'email~"@example.com" AND created>1', "limit": 100}).data) == 12
    assert len(list(client.v1.customers.search({"query": 'email~"@"', "limit": 5}).auto_paging_iter())) == 12


def test_a_property_that_cannot_be_expanded_is_refused(fake: FakeStripe, client: stripe.StripeClient) -> None:
    ids = fake.seed(1, 1)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        client.v1.customers.retrieve(ids["customers"][0], {"expand": ["nonsense"]})
    expanded = client.v1.customers.retrieve(ids["customers"][0], {"expand": ["subscriptions", "tax_ids"]})
    assert [each.id for each in expanded.subscriptions.data] == ids["subscriptions"]


def test_an_idempotency_key_replays_and_refuses_another_request(client: stripe.StripeClient) -> None:
    options: stripe.RequestOptions = {"idempotency_key": "once"}
    first = client.v1.customers.create({"name": "Ada"}, options)
    second = client.v1.customers.create({"name": "Ada"}, options)
    assert first.id == second.id
    assert second.last_response.headers["idempotent-replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"name": "Ben"}, options)
    assert len(client.v1.customers.list().data) == 1


def test_errors_are_those_that_the_sdk_knows(fake: FakeStripe, client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.AuthenticationError):
        client_of(fake, "nonsense").v1.customers.list()
    fake.configure(revoked=["sk_test_gone"])
    with pytest.raises(stripe.AuthenticationError):
        client_of(fake, "sk_test_gone").v1.customers.list()
    with pytest.raises(stripe.InvalidRequestError) as raised:
        client.v1.subscriptions.create({"customer": "cus_none", "items": []})
    assert (raised.value.code, raised.value.param) == ("resource_missing", "customer")
    with pytest.raises(stripe.InvalidRequestError, match="Missing required param: currency") as raised:
        client.v1.payment_intents.create({"amount": 5})
    assert raised.value.code == "parameter_missing"
    assert raw(fake, "GET", "/v1/unheard_of")[0] == 404


def test_a_restricted_key_may_only_do_what_it_was_given(fake: FakeStripe) -> None:
    fake.configure(permissions={"rk_test_r": {"customers": "read", "prices": "write"}})
    restricted = client_of(fake, "rk_test_r")
    assert restricted.v1.customers.list().data == []
    assert restricted.v1.prices.list().data == []
    with pytest.raises(stripe.PermissionError):
        restricted.v1.customers.create({})
    with pytest.raises(stripe.PermissionError):
        restricted.v1.invoices.list()


def test_accounts_and_modes_never_see_each_other(fake: FakeStripe, client: stripe.StripeClient) -> None:
    fake.configure(accounts={"sk_test_other": "acct_other"})
    made = client.v1.customers.create({})
    strangers = [
        client_of(fake, "sk_live_a"),
        client_of(fake, "sk_test_other"),
        client_of(fake, stripe_account="acct_9"),
        client_of(fake, stripe_context="acct_8"),
    ]
    for stranger in strangers:
        with pytest.raises(stripe.InvalidRequestError):
            stranger.v1.customers.retrieve(made.id)
    own = client_of(fake, stripe_account="acct_other").v1.customers.create({})
    assert client_of(fake, "sk_test_other").v1.customers.retrieve(own.id).id == own.id
    assert client_of(fake, "sk_live_a").v1.customers.create({}).livemode


def test_answers_have_the_headers_the_form_and_about_the_size_of_real_ones(fake: FakeStripe) -> None:
    ids = fake.seed(1, 1)
    sizes = {}
    for kind in ("customers", "products", "prices", "subscriptions", "invoices"):
        status, body, headers = raw(fake, "GET", f"/v1/{kind}/{ids[kind][0]}")
        assert status == 200
        assert body.startswith(b'{\n  "id": "')
        assert headers["cache-control"] == "no-cache, no-store"
        assert headers["vary"] == "Origin"
        assert headers["request-id"].startswith("req_")
        assert "etag" not in headers
        sizes[kind] = len(body)
    assert 1000 < sizes["customers"] < 1500
    assert 3500 < sizes["subscriptions"] < 7000
    assert 3500 < sizes["invoices"] < 5000


def test_the_stripe_version_is_echoed(fake: FakeStripe) -> None:
    read = client_of(fake, stripe_version="2026-01-01.test").v1.balance.retrieve()
    assert read.last_response.headers["stripe-version"] == "2026-01-01.test"


def test_it_remembers_the_headers_it_was_sent_but_not_the_key(fake: FakeStripe) -> None:
    options: stripe.RequestOptions = {"headers": {"Cache-Control": "no-cache"}}
    client_of(fake, stripe_account="acct_1").v1.customers.list({"limit": 3}, options)
    (request,) = fake.requests()
    assert (request["method"], request["path"], request["query"]) == ("GET", "/v1/customers", "limit=3")
    assert request["headers"]["stripe-account"] == "acct_1"
    assert request["headers"]["cache-control"] == "no-cache"
    assert "authorization" not in request["headers"]


def test_every_operation_of_the_sdk_is_answered(fake: FakeStripe) -> None:
    statuses: dict[int, int] = {}
    connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=10)
    for operation in router().operations:
        path = "/".join("x" if part.startswith("{") else part for part in operation.template.split("/"))
        connection.request(operation.method, path, None, {"Authorization": "Bearer sk_test_a"})
        response = connection.getresponse()
        response.read()
        assert response.status in {200, 400, 404}, (operation, response.status)
        statuses[response.status] = statuses.get(response.status, 0) + 1
    connection.close()
    assert sum(statuses.values()) > 600
    assert statuses[200] > 150


def test_the_same_seed_gives_the_same_ids() -> None:
    with FakeStripe(seed=3) as one, FakeStripe(seed=3) as two, FakeStripe(seed=4) as three:
        assert one.seed(5, 2) == two.seed(5, 2)
        assert three.seed(5, 2) != two.seed(5, 2)


def test_it_ends_without_a_trace(process_gone: Callable[[int], bool]) -> None:
    with FakeStripe() as fake:
        pid = fake.process.pid
    assert process_gone(pid)
