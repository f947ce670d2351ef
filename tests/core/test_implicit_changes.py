"""What Stripe changes without saying so in the object that a write or event is about: each known case, and its bound.

A case puts answers on the shelf, lets something happen, and looks which are gone. Each answer is put there twice more:
expanded in another one, and in a list. What nothing tells of is gone when its TTL is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from implicit_changes import (
    ACCOUNT,
    CAPABILITY,
    CHARGE,
    CODE,
    COUPON,
    CUSTOMER,
    EVENTS,
    INVOICE,
    ITEM,
    MONEY,
    OF_ACCOUNT,
    PENDING,
    PERSON,
    PLACES,
    PRICE,
    QUOTE,
    SUBSCRIPTION,
    WRITES,
    Told,
    Written,
    listed,
    shelved,
)
from shelf import Shelf

if TYPE_CHECKING:
    from implicit_changes import Body


@pytest.mark.parametrize("case", WRITES, ids=str)
def test_a_write_leaves_nothing_old_of_what_it_changes_besides(case: Written) -> None:
    shelf, paths = shelved(*case.changed)
    shelf.write(case.method, case.path, case.answer, **case.form)
    assert [path for path in paths if shelf.has(path)] == []


@pytest.mark.parametrize("case", EVENTS, ids=str)
def test_an_event_leaves_nothing_old_of_what_it_stands_for(case: Told) -> None:
    shelf, paths = shelved(*case.changed)
    shelf.hear(case.event, case.body, case.previous)
    assert [path for path in paths if shelf.has(path)] == []


@pytest.mark.parametrize(
    ("event", "path", "changed"),
    [
        ("v1.payment_method.detached", "/v1/payment_methods/pm_1", (CUSTOMER, SUBSCRIPTION)),
        ("v1.coupon.deleted", "/v1/coupons/co_1", (CODE,)),
        ("v1.account.updated", "/v1/accounts/acct_9", OF_ACCOUNT),
        ("v1.customer.subscription.updated", "/v1/subscriptions/sub_1", (ITEM,)),
        ("v1.balance.available", "/v1/balance", (MONEY,)),
    ],
)
def test_a_thin_event_voids_what_names_its_object(event: str, path: str, changed: tuple[Body, ...]) -> None:
    shelf, paths = shelved(*changed)
    related = {"id": path.rpartition("/")[2], "type": event.split(".")[1], "url": path}
    shelf.apply({"object": "v2.core.event", "type": event, "related_object": related})
    assert [path for path in paths if shelf.has(path)] == []


@pytest.mark.parametrize("body", [CUSTOMER, SUBSCRIPTION, INVOICE, CHARGE, PRICE, COUPON, MONEY], ids=lambda b: b["id"])
def test_whatever_embeds_an_object_goes_with_it(body: Body) -> None:
    """Be it a write or an event that tells no more than the id."""
    shelf, paths = shelved(body)
    shelf.write("post", PLACES[body["object"]], body, metadata={"a": "b"})
    assert [path for path in paths if shelf.has(path)] == []
    shelf, paths = shelved(body)
    shelf.hear(f"{body['object']}.updated", {"id": body["id"], "object": body["object"]})
    assert [path for path in paths if shelf.has(path)] == []


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        # The time passes at which they end, and a redemption may send nothing.
        (COUPON, 300),
        (CODE, 300),
        # Edits that send nothing: an invoice item's, a quote's, an account's whose event Stripe forgot.
        (PENDING, 300),
        (QUOTE, 3600),
        *((one, 300) for one in (ACCOUNT, PERSON, CAPABILITY)),
        # It settles, and balance.available is lost.
        (MONEY, 3600),
    ],
    ids=lambda value: value["id"] if isinstance(value, dict) else str(value),
)
def test_what_nothing_tells_of_ends_with_its_ttl(body: Body, seconds: float) -> None:
    shelf, paths = shelved(body)
    shelf.clock.advance(seconds)
    assert [path for path in paths if shelf.has(path)] == []


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("shipping_rate", "/v1/shipping_rates/x_1"),
        ("payment_method_configuration", "/v1/payment_method_configurations/x_1"),
        ("payment_method_domain", "/v1/payment_method_domains/x_1"),
        ("tax.registration", "/v1/tax/registrations/x_1"),
        ("terminal.location", "/v1/terminal/locations/x_1"),
        ("radar.value_list", "/v1/radar/value_lists/x_1"),
        ("entitlements.feature", "/v1/entitlements/features/x_1"),
        ("invoice_rendering_template", "/v1/invoice_rendering_templates/x_1"),
        ("apple_pay_domain", "/v1/apple_pay/domains/x_1"),
    ],
)
def test_an_edit_in_the_dashboard_of_what_sends_no_event_shows_after_five_minutes(name: str, template: str) -> None:
    shelf = Shelf()
    assert shelf.put(template, {"id": "x_1", "object": name})
    holder = "/v1/payment_links/plink_1?expand[0]=x"
    assert shelf.put(holder, {"id": "plink_1", "object": "payment_link", "x": {"id": "x_1", "object": name}})
    shelf.clock.advance(300)
    assert not shelf.has(template)
    assert not shelf.has(holder)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/payment_intents/pi_1", "payment_intent"),
        ("/v1/setup_intents/seti_1", "setup_intent"),
        ("/v1/checkout/sessions/cs_1", "checkout.session"),
        ("/v1/webhook_endpoints/we_1", "webhook_endpoint"),
        ("/v1/balance", "balance"),
    ],
)
def test_the_rest_of_what_changes_without_an_event_is_never_kept(path: str, name: str) -> None:
    assert not Shelf().put(path, {"id": path.rpartition("/")[2], "object": name})


def test_what_another_customer_has_is_kept() -> None:
    """Voids are broad only where nobody names the one; a write to an item names no subscription until it is over."""
    items = listed("/v1/subscription_items?subscription=sub_2", {**ITEM, "id": "si_2", "subscription": "sub_2"})
    other = {**SUBSCRIPTION, "id": "sub_2", "customer": "cus_2", "schedule": None, "items": items}
    other["default_payment_method"] = "pm_2"
    charge = {**CHARGE, "id": "ch_2", "customer": "cus_2"}
    shelf = Shelf()
    kept = {"/v1/subscriptions/sub_2": other, "/v1/charges/ch_2": charge, "/v1/customers/cus_2": {"object": "customer"}}
    kept["/v1/customers/cus_2"] |= {"id": "cus_2", "invoice_settings": {"default_payment_method": "pm_2"}}
    assert all(shelf.put(path, body) for path, body in kept.items())
    for case in (*(case for case in WRITES if "/subscription_items" not in case.path), *EVENTS):
        if SUBSCRIPTION in case.changed or CUSTOMER in case.changed or CHARGE in case.changed:
            if isinstance(case, Written):
                shelf.write(case.method, case.path, case.answer, **case.form)
            else:
                shelf.hear(case.event, case.body, case.previous)
    assert [path for path in kept if not shelf.has(path)] == []
