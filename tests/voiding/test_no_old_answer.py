"""Every kind of write over everything that can be read: nothing old is left, whether we wrote or an event told us."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import stripe
from voiding.conftest import Watch

from stripe_cache import StripeCache


class World:
    """A small account in which one of everything refers to everything else."""

    def __init__(self, watch: Watch) -> None:
        make = watch.fake.mutate
        ids = watch.fake.seed(customers=2, products=2)
        self.one, self.two = ids["customers"]
        self.sub, self.sub_two = ids["subscriptions"][:2]
        self.product, self.other_product = ids["products"][:2]
        self.price, self.other_price = ids["prices"][:2]
        make(f"/v1/prices/{self.other_price}", lookup_key="gold")
        make(f"/v1/products/{self.product}", default_price=self.price)
        self.coupon = make("/v1/coupons", percent_off=10)["id"]
        self.promotion = make("/v1/promotion_codes", promotion={"type": "coupon", "coupon": self.coupon})["id"]
        self.method = make("/v1/payment_methods", type="card", customer=self.one)["id"]
        self.tax = make(f"/v1/customers/{self.one}/tax_ids", type="eu_vat", value="DE1")["id"]
        self.draft = make("/v1/invoices", customer=self.one, subscription=self.sub)["id"]
        self.intent = make("/v1/payment_intents", amount=5, currency="usd", customer=self.one)["id"]
        self.schedule = make("/v1/subscription_schedules", customer=self.one, subscription=self.sub)["id"]
        make(f"/v1/subscriptions/{self.sub}", schedule=self.schedule)
        self.quote = make("/v1/quotes", customer=self.one)["id"]
        self.charge = make("/v1/charges", amount=5, currency="usd", customer=self.one)["id"]
        self.rate = make("/v1/tax_rates", display_name="VAT", percentage=19, inclusive=False)["id"]
        self.shipping = make("/v1/shipping_rates", display_name="Fast")["id"]
        self.item = make("/v1/subscription_items", subscription=self.sub, price=self.price)["id"]

    def paths(self) -> list[str]:
        """Name what is read: objects, expansions, lists, filtered and nested lists."""
        per_customer = [
            path
            for customer in (self.one, self.two)
            for path in (
                f"/v1/customers/{customer}",
                f"/v1/customers/{customer}?expand[]=subscriptions&expand[]=tax_ids&expand[]=sources",
                f"/v1/customers/{customer}/tax_ids",
                f"/v1/customers/{customer}/payment_methods",
                f"/v1/subscriptions?customer={customer}",
                f"/v1/subscriptions?customer={customer}&status=canceled",
                f"/v1/invoices?customer={customer}&expand[]=data.customer",
                f"/v1/payment_methods?customer={customer}",
                f"/v1/charges?customer={customer}",
            )
        ]
        objects = [
            f"/v1/subscriptions/{self.sub}?expand[]=customer&expand[]=latest_invoice",
            f"/v1/subscriptions/{self.sub}",
            f"/v1/subscriptions/{self.sub_two}?expand[]=items.data.price.product",
            f"/v1/subscription_items?subscription={self.sub}",
            f"/v1/subscription_items/{self.item}",
            f"/v1/products/{self.product}?expand[]=default_price",
            f"/v1/prices/{self.price}?expand[]=product",
            f"/v1/prices/{self.other_price}",
            f"/v1/prices?product={self.product}",
            f"/v1/coupons/{self.coupon}",
            f"/v1/promotion_codes/{self.promotion}",
            f"/v1/payment_methods/{self.method}?expand[]=customer",
            f"/v1/customers/{self.one}/tax_ids/{self.tax}",
            f"/v1/invoices/{self.draft}?expand[]=customer",
            f"/v1/invoices/{self.draft}/lines",
            f"/v1/subscription_schedules/{self.schedule}",
            f"/v1/subscription_schedules?customer={self.one}",
            f"/v1/quotes/{self.quote}",
            f"/v1/charges/{self.charge}",
            f"/v1/tax_rates/{self.rate}",
            f"/v1/shipping_rates/{self.shipping}",
        ]
        kinds = ("customers", "subscriptions", "invoices", "products", "prices", "coupons", "promotion_codes")
        more = ("charges", "quotes", "tax_rates", "shipping_rates", "tax_ids", "subscription_schedules")
        return [*per_customer, *objects, *(f"/v1/{kind}" for kind in (*kinds, *more))]


Write = Callable[[World], tuple[str, str, dict[str, Any]]]
WRITES: dict[str, Write] = {
    "create customer": lambda _: ("post", "/v1/customers", {"name": "New"}),
    "update customer": lambda w: ("post", f"/v1/customers/{w.one}", {"name": "Changed"}),
    "delete customer": lambda w: ("delete", f"/v1/customers/{w.one}", {}),
    "create subscription": lambda w: ("post", "/v1/subscriptions", {"customer": w.two, "items": [{"price": w.price}]}),
    "redeem": lambda w: (
        "post",
        "/v1/subscriptions",
        {"customer": w.two, "items": [{"price": w.price}], "discounts": [{"coupon": w.coupon}]},
    ),
    "update subscription": lambda w: ("post", f"/v1/subscriptions/{w.sub}", {"metadata": {"a": "b"}}),
    "cancel subscription": lambda w: ("delete", f"/v1/subscriptions/{w.sub}", {}),
    "pause subscription": lambda w: ("post", f"/v1/subscriptions/{w.sub}/pause", {}),
    "create item": lambda w: ("post", "/v1/subscription_items", {"subscription": w.sub, "price": w.other_price}),
    "update product": lambda w: ("post", f"/v1/products/{w.product}", {"name": "Changed"}),
    "archive price": lambda w: ("post", f"/v1/prices/{w.price}", {"active": False}),
    "create price": lambda w: ("post", "/v1/prices", {"currency": "usd", "unit_amount": 1, "product": w.product}),
    "create price and product": lambda _: ("post", "/v1/prices", {"currency": "usd", "product_data": {"name": "P"}}),
    "take over a lookup key": lambda w: (
        "post",
        f"/v1/prices/{w.price}",
        {"lookup_key": "gold", "transfer_lookup_key": True},
    ),
    "update coupon": lambda w: ("post", f"/v1/coupons/{w.coupon}", {"name": "Changed"}),
    "delete coupon": lambda w: ("delete", f"/v1/coupons/{w.coupon}", {}),
    "end promotion code": lambda w: ("post", f"/v1/promotion_codes/{w.promotion}", {"active": False}),
    "detach method": lambda w: ("post", f"/v1/payment_methods/{w.method}/detach", {}),
    "create tax id": lambda w: ("post", f"/v1/customers/{w.one}/tax_ids", {"type": "eu_vat", "value": "DE2"}),
    "delete tax id": lambda w: ("delete", f"/v1/customers/{w.one}/tax_ids/{w.tax}", {}),
    "pay invoice": lambda w: ("post", f"/v1/invoices/{w.draft}/pay", {}),
    "void invoice": lambda w: ("post", f"/v1/invoices/{w.draft}/void", {}),
    "delete invoice": lambda w: ("delete", f"/v1/invoices/{w.draft}", {}),
    "confirm payment": lambda w: ("post", f"/v1/payment_intents/{w.intent}/confirm", {}),
    "release schedule": lambda w: ("post", f"/v1/subscription_schedules/{w.schedule}/release", {}),
    "accept quote": lambda w: ("post", f"/v1/quotes/{w.quote}/accept", {}),
    "update charge": lambda w: ("post", f"/v1/charges/{w.charge}", {"description": "Changed"}),
    "update tax rate": lambda w: ("post", f"/v1/tax_rates/{w.rate}", {"active": False}),
    "update shipping rate": lambda w: ("post", f"/v1/shipping_rates/{w.shipping}", {"active": False}),
}
# Stripe sends no event for these: whoever does not write through the client waits for the TTL.
EVENTLESS = {"update shipping rate"}


def old(watch: Watch, paths: list[str]) -> list[str]:
    """List the paths whose answer is not what Stripe would say now."""
    stale = []
    for path in paths:
        truth = watch.fake.truth(path)
        try:
            served = watch.get(path)
        except stripe.InvalidRequestError:
            served = None
        if served != (None if "error" in truth else truth):
            stale.append(path)
    return stale


@pytest.mark.parametrize("told_by", ["write", "event"])
@pytest.mark.parametrize("name", WRITES)
def test_nothing_old_is_served_after(watch: Watch, name: str, told_by: str) -> None:
    # Which records are named does not depend on the tier; one of them is faster.
    watch = Watch(watch.fake, StripeCache(replace(watch.cache.settings, table="")))
    world = World(watch)
    paths = world.paths()
    watch.read(*paths)
    method, path, params = WRITES[name](world)
    if told_by == "write":
        watch.write(method, path, **params)
    else:
        watch.change(method.upper(), path, **params)
        assert bool(watch.apply_events()) is (name not in EVENTLESS)
    unheard = told_by == "event" and name in EVENTLESS
    assert old(watch, paths) == ([path, path.rpartition("/")[0]] if unheard else [])
