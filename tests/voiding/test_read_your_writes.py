from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import stripe

if TYPE_CHECKING:
    from voiding.conftest import Watch


def shop(watch: Watch) -> tuple[dict[str, list[str]], str, str]:
    """Seed, and return the ids, one customer, and another one who must not be bothered."""
    ids = watch.fake.seed(customers=3, products=2)
    return ids, ids["customers"][0], ids["customers"][1]


def test_an_update_shows_at_once_and_leaves_other_objects_alone(watch: Watch) -> None:
    _, one, other = shop(watch)
    watch.read(f"/v1/customers/{one}", f"/v1/customers/{other}", "/v1/customers?limit=2")
    watch.write("post", f"/v1/customers/{one}", name="New")
    watch.voided(f"/v1/customers/{one}", "/v1/customers?limit=2")
    watch.kept(f"/v1/customers/{other}")


def test_a_creation_shows_in_its_customers_list_and_not_in_others(watch: Watch) -> None:
    ids, one, other = shop(watch)
    mine, theirs = (f"/v1/subscriptions?customer={c}" for c in (one, other))
    watch.read(mine, theirs, "/v1/subscriptions", f"/v1/invoices?customer={one}", f"/v1/invoices?customer={other}")
    created = watch.write("post", "/v1/subscriptions", customer=one, items=[{"price": ids["prices"][0]}])
    watch.voided(mine, "/v1/subscriptions", f"/v1/invoices?customer={one}")
    assert created["id"] in [each["id"] for each in watch.get(mine)["data"]]
    watch.kept(theirs, f"/v1/invoices?customer={other}")


def test_a_child_written_below_its_parent_voids_both_and_no_other_parents_children(watch: Watch) -> None:
    _, one, other = shop(watch)
    mine, theirs = (f"/v1/customers/{c}/tax_ids" for c in (one, other))
    watch.read(mine, theirs, f"/v1/customers/{one}?expand[]=tax_ids", f"/v1/customers/{other}")
    created = watch.write("post", mine, type="eu_vat", value="DE123456789")
    watch.voided(mine, f"/v1/customers/{one}?expand[]=tax_ids")
    watch.kept(theirs, f"/v1/customers/{other}")
    watch.read(f"{mine}/{created['id']}")
    watch.write("delete", f"{mine}/{created['id']}")
    watch.voided(mine, f"/v1/customers/{one}?expand[]=tax_ids")
    with pytest.raises(stripe.InvalidRequestError, match="No such"):
        watch.get(f"{mine}/{created['id']}")
    watch.kept(theirs, f"/v1/customers/{other}")


@pytest.mark.parametrize(
    ("parameter", "value", "children"),
    [
        ("source", "tok_visa", "sources"),
        ("balance", -100, "balance_transactions"),
        ("cash_balance", {"settings": {"reconciliation_mode": "manual"}}, "cash_balance"),
    ],
)
def test_children_created_through_their_parent_show_below_it(
    watch: Watch, parameter: str, value: Any, children: str
) -> None:
    _, one, other = shop(watch)
    mine, theirs = (f"/v1/customers/{c}/{children}" for c in (one, other))
    kept = [] if children == "sources" else [mine, theirs]
    watch.read(*kept, f"/v1/customers/{one}?expand[]=sources", f"/v1/customers/{other}?expand[]=sources")
    watch.write("post", f"/v1/customers/{one}", **{parameter: value})
    watch.voided(*kept[:1], f"/v1/customers/{one}?expand[]=sources")
    watch.kept(*kept[1:], f"/v1/customers/{other}?expand[]=sources")


def test_a_price_created_with_a_product_or_a_product_with_a_price_shows_in_the_lists(watch: Watch) -> None:
    ids, _, _ = shop(watch)
    watch.read("/v1/products", "/v1/prices", f"/v1/products/{ids['products'][0]}")
    watch.write("post", "/v1/prices", currency="usd", unit_amount=5, product_data={"name": "In passing"})
    watch.voided("/v1/products", "/v1/prices")
    watch.kept(f"/v1/products/{ids['products'][0]}")


def test_a_lookup_key_taken_over_is_gone_from_the_price_that_had_it(watch: Watch) -> None:
    holder, taker, bystander = watch.fake.seed(customers=1, products=4)["prices"][:3]
    # Free text, and longer than a record's name.
    key = "gold plan | {monthly} " + "x" * 150
    watch.fake.mutate(f"/v1/prices/{holder}", lookup_key=key)
    watch.fake.mutate(f"/v1/prices/{bystander}", lookup_key="silver")
    watch.read(f"/v1/prices/{holder}", f"/v1/prices/{taker}", f"/v1/prices/{bystander}")
    watch.write("post", f"/v1/prices/{taker}", lookup_key=key, transfer_lookup_key=True)
    watch.voided(f"/v1/prices/{holder}", f"/v1/prices/{taker}")
    assert watch.get(f"/v1/prices/{holder}")["lookup_key"] is None
    watch.kept(f"/v1/prices/{bystander}")


def test_deleting_a_customer_ends_its_subscriptions_and_no_others(watch: Watch) -> None:
    ids, one, other = shop(watch)
    mine, theirs = (next(s for s in ids["subscriptions"] if customer_of(watch, s) == c) for c in (one, other))
    watch.read(
        *(f"/v1/subscriptions/{each}" for each in (mine, theirs)),
        *(f"/v1/subscriptions?customer={each}" for each in (one, other)),
        f"/v1/customers/{one}",
        f"/v1/customers/{other}",
    )
    watch.write("delete", f"/v1/customers/{one}")
    watch.voided(f"/v1/subscriptions/{mine}", f"/v1/subscriptions?customer={one}", f"/v1/customers/{one}")
    assert watch.get(f"/v1/subscriptions/{mine}")["status"] == "canceled"
    watch.kept(f"/v1/subscriptions/{theirs}", f"/v1/customers/{other}", f"/v1/subscriptions?customer={other}")


def test_the_barrier_covers_a_customers_subscriptions_while_the_deletion_is_under_way(watch: Watch) -> None:
    ids, one, _ = shop(watch)
    mine = next(s for s in ids["subscriptions"] if customer_of(watch, s) == one)
    watch.read(f"/v1/subscriptions/{mine}")
    # The answer is lost: Stripe has done it, and nobody was told.
    watch.fake.configure(faults=[{"kind": "drop", "path": "^DELETE", "after": True}])
    with pytest.raises(stripe.APIConnectionError):
        watch.write("delete", f"/v1/customers/{one}")
    watch.voided(f"/v1/subscriptions/{mine}")


def test_releasing_a_schedule_voids_its_subscription(watch: Watch) -> None:
    ids, one, _ = shop(watch)
    subscription, other = ids["subscriptions"][:2]
    schedule = watch.fake.mutate("/v1/subscription_schedules", customer=one, subscription=subscription)
    watch.fake.mutate(f"/v1/subscriptions/{subscription}", schedule=schedule["id"])
    watch.read(f"/v1/subscriptions/{subscription}", f"/v1/subscriptions/{other}")
    watch.write("post", f"/v1/subscription_schedules/{schedule['id']}/release")
    watch.voided(f"/v1/subscriptions/{subscription}")
    watch.kept(f"/v1/subscriptions/{other}")


def test_deleting_an_item_shows_in_the_subscription_that_its_answer_does_not_name(watch: Watch) -> None:
    ids, _, _ = shop(watch)
    mine = ids["subscriptions"][0]
    item = watch.fake.mutate("/v1/subscription_items", subscription=mine, price=ids["prices"][0])["id"]
    watch.read(f"/v1/subscriptions/{mine}")
    assert watch.write("delete", f"/v1/subscription_items/{item}").keys() == {"id", "object", "deleted"}
    watch.voided(f"/v1/subscriptions/{mine}")


def test_paying_an_invoice_voids_the_subscription_it_is_for(watch: Watch) -> None:
    ids, one, other = shop(watch)
    mine = next(s for s in ids["subscriptions"] if customer_of(watch, s) == one)
    invoice = watch.fake.mutate("/v1/invoices", customer=one, subscription=mine)
    watch.read(f"/v1/invoices/{invoice['id']}", f"/v1/subscriptions/{mine}", f"/v1/customers/{one}")
    watch.read(f"/v1/invoices/{invoice['id']}/lines", f"/v1/customers/{other}")
    watch.write("post", f"/v1/invoices/{invoice['id']}/pay")
    watch.voided(f"/v1/invoices/{invoice['id']}", f"/v1/subscriptions/{mine}", f"/v1/customers/{one}")
    watch.voided(f"/v1/invoices/{invoice['id']}/lines")
    watch.kept(f"/v1/customers/{other}")


def test_attaching_a_payment_method_shows_in_that_customers_list(watch: Watch) -> None:
    _, one, other = shop(watch)
    method = watch.fake.mutate("/v1/payment_methods", type="card")["id"]
    mine, theirs = (f"/v1/customers/{c}/payment_methods" for c in (one, other))
    watch.read(mine, theirs, f"/v1/payment_methods/{method}", f"/v1/customers/{one}", f"/v1/customers/{other}")
    watch.write("post", f"/v1/payment_methods/{method}/attach", customer=one)
    watch.voided(mine, f"/v1/payment_methods/{method}", f"/v1/customers/{one}")
    watch.kept(f"/v1/customers/{other}")
    watch.write("post", f"/v1/payment_methods/{method}/detach")
    watch.voided(mine, f"/v1/payment_methods/{method}")
    watch.kept(f"/v1/customers/{other}")


@pytest.mark.parametrize("after", [True, False])
def test_a_write_whose_answer_is_lost_is_not_followed_by_an_old_read(watch: Watch, *, after: bool) -> None:
    _, one, other = shop(watch)
    watch.read(f"/v1/customers/{one}", f"/v1/customers/{other}", "/v1/customers")
    watch.fake.configure(faults=[{"kind": "drop", "path": "^POST", "after": after}])
    with pytest.raises(stripe.APIConnectionError):
        watch.write("post", f"/v1/customers/{one}", name="Perhaps")
    watch.voided(f"/v1/customers/{one}", "/v1/customers")
    assert (watch.get(f"/v1/customers/{one}")["name"] == "Perhaps") is after
    watch.kept(f"/v1/customers/{other}")


@pytest.mark.parametrize("after", [True, False])
def test_a_write_that_stripe_answers_with_an_error_is_void_all_the_same(watch: Watch, *, after: bool) -> None:
    _, one, other = shop(watch)
    watch.read(f"/v1/customers/{one}", f"/v1/customers/{other}")
    watch.fake.configure(faults=[{"kind": "error", "path": "^POST", "after": after, "status": 500}])
    with pytest.raises(stripe.APIError):
        watch.write("post", f"/v1/customers/{one}", name="Perhaps")
    watch.voided(f"/v1/customers/{one}")
    watch.kept(f"/v1/customers/{other}")


def test_an_idempotent_replay_shows_what_is_true_now_and_not_what_it_answers(watch: Watch) -> None:
    _, one, _ = shop(watch)
    options: Any = {"headers": {"Idempotency-Key": "once"}}
    watch.write("post", f"/v1/customers/{one}", name="First", **options)
    watch.read(f"/v1/customers/{one}")
    watch.fake.mutate(f"/v1/customers/{one}", name="Second")
    replayed = watch.write("post", f"/v1/customers/{one}", name="First", **options)
    assert replayed["name"] == "First", "Stripe answers with what it saved: such a body must never fill the cache"
    watch.voided(f"/v1/customers/{one}")
    assert watch.get(f"/v1/customers/{one}")["name"] == "Second"


def test_a_post_that_only_asks_voids_nothing(watch: Watch) -> None:
    _, one, _ = shop(watch)
    watch.read(f"/v1/customers/{one}", "/v1/invoices", f"/v1/invoices?customer={one}")
    watch.write("post", "/v1/invoices/create_preview", customer=one)
    assert watch.is_hit(f"/v1/customers/{one}")
    assert watch.is_hit(f"/v1/invoices?customer={one}")


def test_the_hold_ends_with_the_write(watch: Watch) -> None:
    _, one, _ = shop(watch)
    watch.read(f"/v1/customers/{one}")
    watch.write("post", f"/v1/customers/{one}", name="New")
    watch.read(f"/v1/customers/{one}")
    assert json.dumps(watch.get(f"/v1/customers/{one}")).count('"New"') == 1


def customer_of(watch: Watch, subscription: str) -> str:
    found: str = watch.fake.truth(f"/v1/subscriptions/{subscription}")["customer"]
    return found
