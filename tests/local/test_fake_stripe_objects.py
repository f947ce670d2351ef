from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stripe

if TYPE_CHECKING:
    from local.fake_stripe.client import FakeStripe


@pytest.fixture
def client(fake: FakeStripe) -> stripe.StripeClient:
    return stripe.StripeClient("sk_test_a", base_addresses={"api": fake.url})


def test_a_customer_is_created_changed_read_and_deleted(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"email": "ada@example.com", "metadata": {"a": "1", "b": "2"}})
    changed = client.v1.customers.update(made.id, {"name": "Ada", "metadata": {"a": "", "c": "3"}})
    assert changed.metadata.to_dict() == {"b": "2", "c": "3"}
    read = client.v1.customers.retrieve(made.id)
    assert (read.name, read.email, read.livemode) == ("Ada", "ada@example.com", False)
    assert client.v1.customers.delete(made.id).deleted
    assert client.v1.customers.retrieve(made.id).to_dict() == {"id": made.id, "object": "customer", "deleted": True}
    assert client.v1.customers.retrieve(made.id, {"expand": ["subscriptions"]}).to_dict().keys() == {
        "id",
        "object",
        "deleted",
    }
    assert client.v1.customers.list().data == []


def test_a_deleted_coupon_is_missing(client: stripe.StripeClient) -> None:
    made = client.v1.coupons.create({"percent_off": 12.5, "duration": "once"})
    assert client.v1.coupons.retrieve(made.id).percent_off == 12.5
    assert client.v1.coupons.delete(made.id).deleted
    with pytest.raises(stripe.InvalidRequestError) as raised:
        client.v1.coupons.retrieve(made.id)
    assert (raised.value.http_status, raised.value.code) == (404, "resource_missing")


def test_a_subscription_shows_its_price_as_it_is_now_and_ends_when_canceled(client: stripe.StripeClient) -> None:
    product = client.v1.products.create({"name": "Team"})
    price = client.v1.prices.create(
        {"product": product.id, "unit_amount": 900, "currency": "eur", "recurring": {"interval": "month"}}
    )
    customer = client.v1.customers.create({})
    made = client.v1.subscriptions.create({"customer": customer.id, "items": [{"price": price.id, "quantity": 2}]})
    client.v1.prices.update(price.id, {"nickname": "renamed"})
    read = client.v1.subscriptions.retrieve(made.id, {"expand": ["latest_invoice", "items.data.price.product"]})
    item = read["items"].data[0]
    assert (item.price.nickname, item.price.product.name, item.plan.nickname) == ("renamed", "Team", "renamed")
    assert (read.latest_invoice.total, read.latest_invoice.status) == (1800, "paid")
    assert client.v1.subscriptions.cancel(made.id).status == "canceled"
    assert client.v1.subscriptions.list({"customer": customer.id}).data == []
    assert len(client.v1.subscriptions.list({"customer": customer.id, "status": "all"}).data) == 1


def test_subscription_items_are_changed_added_and_removed(fake: FakeStripe, client: stripe.StripeClient) -> None:
    ids = fake.seed(1, 3)
    before = client.v1.subscriptions.retrieve(ids["subscriptions"][0])
    old = before["items"].data[0]
    after = client.v1.subscriptions.update(
        before.id, {"items": [{"id": old.id, "quantity": 5}, {"price": ids["prices"][2]}], "metadata": {"k": "v"}}
    )
    assert [item.quantity for item in after["items"].data] == [5, 1]
    only = client.v1.subscriptions.update(before.id, {"items": [{"id": old.id, "deleted": True}]})
    assert [item.price.id for item in only["items"].data] == [ids["prices"][2]]


def test_subscription_items_are_objects_of_their_own_too(fake: FakeStripe, client: stripe.StripeClient) -> None:
    ids = fake.seed(2, 2)
    subscription = ids["subscriptions"][0]
    (item,) = client.v1.subscription_items.list({"subscription": subscription}).data
    client.v1.subscription_items.update(item.id, {"quantity": 9})
    assert client.v1.subscription_items.retrieve(item.id).quantity == 9
    assert client.v1.subscriptions.retrieve(subscription)["items"].data[0].quantity == 9
    added = client.v1.subscription_items.create({"subscription": subscription, "price": ids["prices"][1]})
    assert added.price.id == ids["prices"][1]
    assert client.v1.subscription_items.delete(item.id).deleted
    left = client.v1.subscription_items.list({"subscription": subscription}).data
    assert [each.id for each in left] == [added.id]


def test_cards_are_kept_with_their_customer(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({})
    card = client.v1.customers.payment_sources.create(customer.id, {"source": "tok_visa"})
    assert client.v1.customers.payment_sources.retrieve(customer.id, card.id).id == card.id
    assert [each.id for each in client.v1.customers.payment_sources.list(customer.id).data] == [card.id]
    assert client.v1.customers.retrieve(customer.id).default_source == card.id


def test_a_balance_transaction_changes_the_balance_of_its_customer(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({})
    client.v1.customers.balance_transactions.create(customer.id, {"amount": -500, "currency": "usd"})
    second = client.v1.customers.balance_transactions.create(customer.id, {"amount": 200, "currency": "usd"})
    assert second.ending_balance == -300
    assert client.v1.customers.retrieve(customer.id).balance == -300


def test_redeeming_a_promotion_code_counts_on_it_and_on_its_coupon(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    ids = fake.seed(1, 1)
    coupon = client.v1.coupons.create({"percent_off": 10, "duration": "once"})
    code = client.v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}})
    client.v1.subscriptions.create(
        {
            "customer": ids["customers"][0],
            "items": [{"price": ids["prices"][0]}],
            "discounts": [{"promotion_code": code.id}],
        }
    )
    assert client.v1.promotion_codes.retrieve(code.id).times_redeemed == 1
    assert client.v1.coupons.retrieve(coupon.id).times_redeemed == 1


def test_an_invoice_goes_from_draft_to_paid(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({"name": "Ada"})
    made = client.v1.invoices.create({"customer": customer.id})
    assert (made.status, made.customer_name) == ("draft", "Ada")
    assert client.v1.invoices.finalize_invoice(made.id).status == "open"
    assert client.v1.invoices.pay(made.id).status == "paid"
    assert client.v1.invoices.line_items.list(made.id).data == []


def test_a_payment_intent_has_a_secret_and_succeeds_when_confirmed(client: stripe.StripeClient) -> None:
    made = client.v1.payment_intents.create({"amount": 500, "currency": "usd"})
    assert made.client_secret is not None
    assert made.client_secret.startswith(f"{made.id}_secret_")
    done = client.v1.payment_intents.confirm(made.id)
    assert (done.status, done.amount_received) == ("succeeded", 500)
    assert client.v1.charges.retrieve(str(done.latest_charge)).amount == 500


def test_payment_methods_are_attached_and_detached(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({})
    made = client.v1.payment_methods.create({"type": "card"})
    client.v1.payment_methods.attach(made.id, {"customer": customer.id})
    assert [each.id for each in client.v1.customers.payment_methods.list(customer.id).data] == [made.id]
    client.v1.payment_methods.detach(made.id)
    assert client.v1.customers.payment_methods.list(customer.id).data == []


def test_singletons_keep_what_is_written(client: stripe.StripeClient) -> None:
    assert client.v1.balance.retrieve().object == "balance"
    client.v1.tax.settings.update({"defaults": {"tax_behavior": "inclusive"}})
    assert client.v1.tax.settings.retrieve().defaults.tax_behavior == "inclusive"


def test_types_without_a_shape_of_their_own_work_too(client: stripe.StripeClient) -> None:
    made = client.v1.billing.meters.create(
        {"display_name": "m", "event_name": "e", "default_aggregation": {"formula": "sum"}}
    )
    assert client.v1.billing.meters.retrieve(made.id).display_name == "m"
    assert client.v1.billing.meters.deactivate(made.id).status == "inactive"
    customer = client.v1.customers.create({})
    tax_id = client.v1.customers.tax_ids.create(customer.id, {"type": "eu_vat", "value": "DE123456789"})
    assert [each.id for each in client.v1.customers.tax_ids.list(customer.id).data] == [tax_id.id]
    assert client.v2.core.events.list().data == []
