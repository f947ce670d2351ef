from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stripe_cache.core.embedded import NotEmbeddableError, embedded_records
from stripe_cache.core.records import dependency, is_never_kept, validate_record

if TYPE_CHECKING:
    from voiding.conftest import Watch


def test_an_event_voids_the_object_what_embeds_it_and_the_lists_that_show_it(watch: Watch) -> None:
    ids = watch.fake.seed(customers=3, products=2)
    one, other = ids["customers"][:2]
    mine, theirs = ids["subscriptions"][:2]
    owner = watch.fake.truth(f"/v1/subscriptions/{mine}")["customer"]
    assert owner == one
    expanded, theirs_expanded = (f"/v1/subscriptions/{each}?expand[]=customer" for each in (mine, theirs))
    plain = f"/v1/subscriptions/{mine}"
    watch.read(f"/v1/customers/{one}", f"/v1/customers/{other}", expanded, theirs_expanded, plain)
    watch.read("/v1/subscriptions?limit=3&expand[]=data.customer", f"/v1/subscriptions?customer={one}")
    watch.change("POST", f"/v1/customers/{one}", name="Changed")
    assert watch.apply_events() == ["customer.updated"]
    watch.voided(f"/v1/customers/{one}", expanded, "/v1/subscriptions?limit=3&expand[]=data.customer")
    watch.kept(f"/v1/customers/{other}", theirs_expanded, plain, f"/v1/subscriptions?customer={one}")


def test_a_subscription_event_voids_its_customers_lists_and_not_other_customers(watch: Watch) -> None:
    ids = watch.fake.seed(customers=2, products=1)
    one, other = ids["customers"]
    mine, theirs = (f"/v1/subscriptions?customer={c}" for c in (one, other))
    listing = [f"/v1/customers/{c}?expand[]=subscriptions" for c in (one, other)]
    watch.read(mine, theirs, "/v1/subscriptions", *listing)
    watch.change("POST", "/v1/subscriptions", customer=one, items=[{"price": ids["prices"][0]}])
    assert "customer.subscription.created" in watch.apply_events()
    watch.voided(mine, "/v1/subscriptions", listing[0])
    watch.kept(theirs, listing[1])


def test_a_price_change_voids_every_subscription_that_embeds_it(watch: Watch) -> None:
    ids = watch.fake.seed(customers=6, products=2)
    bodies = {s: watch.fake.truth(f"/v1/subscriptions/{s}") for s in ids["subscriptions"]}
    prices = {s: body["items"]["data"][0]["price"]["id"] for s, body in bodies.items()}
    changed = prices[ids["subscriptions"][0]]
    paths = {s: f"/v1/subscriptions/{s}" for s in bodies}
    watch.read(*paths.values())
    watch.change("POST", f"/v1/prices/{changed}", nickname="Changed")
    watch.apply_events()
    touched = [paths[s] for s in bodies if prices[s] == changed]
    assert 0 < len(touched) < len(paths)
    watch.voided(*touched)
    watch.kept(*(paths[s] for s in bodies if prices[s] != changed))


def test_a_nested_list_is_voided_with_its_parent_where_only_that_has_events(watch: Watch) -> None:
    ids = watch.fake.seed(customers=2, products=1)
    mine, other = ids["invoices"][:2]
    watch.read(f"/v1/invoices/{mine}/lines", f"/v1/invoices/{other}/lines", f"/v1/invoices/{mine}")
    watch.change("POST", f"/v1/invoices/{mine}", description="Changed")
    assert watch.apply_events() == ["invoice.updated"]
    watch.voided(f"/v1/invoices/{mine}", f"/v1/invoices/{mine}/lines")
    watch.kept(f"/v1/invoices/{other}/lines")


def test_a_deleted_customers_subscriptions_do_not_outlive_it_when_only_one_event_arrives(watch: Watch) -> None:
    ids = watch.fake.seed(customers=2, products=1)
    one, other = ids["customers"]
    mine, theirs = (f"/v1/subscriptions/{s}" for s in ids["subscriptions"][:2])
    watch.read(mine, theirs, f"/v1/subscriptions?customer={one}", f"/v1/customers/{one}/tax_ids")
    watch.read(f"/v1/subscriptions?customer={other}")
    watch.change("DELETE", f"/v1/customers/{one}")
    (event,) = [e for e in watch.fake.truth("/v1/events?limit=100")["data"] if e["type"] == "customer.deleted"]
    watch.cache.apply_event(event)
    watch.voided(mine, f"/v1/subscriptions?customer={one}")
    watch.kept(theirs, f"/v1/subscriptions?customer={other}")
    assert not watch.cache.get(f"/v1/customers/{other}/tax_ids", api_key="sk_test_a").data["data"]


def test_a_redeemed_promotion_code_voids_its_coupon_too(watch: Watch) -> None:
    watch.fake.seed(customers=1, products=1)
    coupon = watch.fake.mutate("/v1/coupons", percent_off=10)["id"]
    other = watch.fake.mutate("/v1/coupons", percent_off=20)["id"]
    promotion = watch.fake.mutate("/v1/promotion_codes", promotion={"type": "coupon", "coupon": coupon})["id"]
    watch.read(f"/v1/coupons/{coupon}", f"/v1/coupons/{other}", f"/v1/promotion_codes/{promotion}")
    watch.change("POST", f"/v1/promotion_codes/{promotion}", active=False)
    watch.apply_events()
    watch.voided(f"/v1/coupons/{coupon}", f"/v1/promotion_codes/{promotion}")
    watch.kept(f"/v1/coupons/{other}")


def test_what_is_secret_is_voided_by_nobody_because_nothing_can_hold_it(watch: Watch) -> None:
    ids = watch.fake.seed(customers=1, products=1)
    (one,) = ids["customers"]
    watch.change("POST", "/v1/payment_intents", amount=5, currency="usd", customer=one)
    (event,) = watch.fake.truth("/v1/events?limit=1")["data"]
    assert event["type"] == "payment_intent.created"
    intent = event["data"]["object"]["id"]
    # Its line items are of a type that an override can make cacheable.
    assert watch.cache.apply_event(event).records == (f"/v1/payment_intents/{intent}/amount_details_line_items",)
    assert watch.cache.engine.invalidate(()) == {}
    assert all(is_never_kept(name) for name in ("/v1/payment_intents", "/v1/payment_intents?customer=cus_1"))
    assert is_never_kept("/v1/payment_intents?*")
    # Cards and bank accounts are under the same path as sources, and a customer may embed them.
    assert not any(
        is_never_kept(name) for name in ("/v1/customers/cus_1/sources", "/v1/balance", "pi_1", "/v1/nothing")
    )


LIST: dict[str, Any] = {"object": "list", "data": []}


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ({**LIST, "url": "/v1/customers/cus_1/tax_ids"}, {"/v1/customers/cus_1/tax_ids"}),
        ({**LIST, "url": "/v1/customers/cus_1/subscriptions"}, {"/v1/subscriptions?customer=cus_1"}),
        ({**LIST, "url": "/v1/subscription_items?subscription=s"}, {"/v1/subscription_items?subscription=s"}),
        ({"object": "cash_balance", "customer": "cus_1"}, {"/v1/customers/cus_1/cash_balance"}),
        ({"id": "price_1", "object": "price", "lookup_key": "gold"}, {"price_1", "?lookup-key=gold"}),
        ({"id": "price_1", "object": "price", "lookup_key": None}, {"price_1"}),
        ({"id": "sub_1", "object": "subscription", "customer": {"id": "cus_2"}}, {"sub_1", "?customer-billing=cus_2"}),
    ],
)
def test_what_an_answer_changes_with_is_read_off_its_body(inside: dict[str, Any], expected: set[str]) -> None:
    found = embedded_records({"id": "x_1", "object": "x", "inside": inside}, "x_1", ())
    assert expected == {name for name in found if not name.endswith("?*")}


def test_an_answer_without_id_or_references_embeds_nothing_and_costs_one_round_trip() -> None:
    summary = {"object": "billing.credit_balance_summary", "customer": "cus_1", "balances": []}
    own = "/v1/billing/credit_balance_summary?customer=cus_1"
    assert embedded_records(summary, own, ()) == ()
    assert embedded_records({"id": "cus_1", "object": "customer", "default_source": "card_1"}, "cus_1", ()) == ()
    assert embedded_records({"id": "price_1", "object": "price", "lookup_key": None}, "price_1", ()) == ()


@pytest.mark.parametrize("value", ["gold", "gold plan | {x}", "#", "x" * 600, "\u00fc"])
def test_whatever_an_answer_depends_on_has_a_name_that_a_queue_can_carry(value: str) -> None:
    name = dependency("lookup-key", value)
    assert validate_record(name) == name
    assert name != dependency("lookup-key", value + "!")
    assert name != dependency("customer-gone", value)


@pytest.mark.parametrize(
    "inside",
    [
        {**LIST, "url": "/v1/hologram/h_1/parts"},
        LIST,
        {**LIST, "url": "/v1/payment_intents"},
        {"id": "seti_1", "object": "setup_intent"},
        {"id": "a b", "object": "x"},
    ],
)
def test_an_answer_is_not_stored_if_nobody_could_void_it_or_it_holds_a_secret_type(inside: dict[str, Any]) -> None:
    with pytest.raises(NotEmbeddableError):
        embedded_records({"id": "x_1", "object": "x", "inside": inside}, "x_1", ())
