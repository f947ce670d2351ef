"""What Stripe changes besides the object that a write or an event is about: the cases that are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shelf import Shelf

Body = dict[str, Any]


def listed(url: str, *members: Body) -> Body:
    return {"object": "list", "url": url, "has_more": False, "data": list(members)}


CUSTOMER: Body = {
    "id": "cus_1",
    "object": "customer",
    "default_source": None,
    "invoice_settings": {"default_payment_method": "pm_1"},
}
ITEM: Body = {"id": "si_1", "object": "subscription_item", "subscription": "sub_1"}
SUBSCRIPTION: Body = {
    "id": "sub_1",
    "object": "subscription",
    "customer": "cus_1",
    "default_payment_method": "pm_1",
    "latest_invoice": "in_1",
    "schedule": "sub_sched_1",
    "items": listed("/v1/subscription_items?subscription=sub_1", ITEM),
}
LINE: Body = {"id": "il_1", "object": "line_item", "invoice": "in_1"}
INVOICE: Body = {
    "id": "in_1",
    "object": "invoice",
    "customer": "cus_1",
    "parent": {"subscription_details": {"subscription": "sub_1"}},
    "lines": listed("/v1/invoices/in_1/lines", LINE),
}
METHOD: Body = {"id": "pm_1", "object": "payment_method", "customer": "cus_1"}
COUPON: Body = {"id": "co_1", "object": "coupon"}
CODE: Body = {"id": "promo_1", "object": "promotion_code", "promotion": {"type": "coupon", "coupon": "co_1"}}
PRICE: Body = {"id": "price_1", "object": "price", "product": "prod_1", "lookup_key": "gold"}
PRODUCT: Body = {"id": "prod_1", "object": "product", "default_price": "price_1"}
MONEY: Body = {"id": "txn_1", "object": "balance_transaction", "source": "ch_1", "status": "pending"}
CHARGE: Body = {"id": "ch_1", "object": "charge", "customer": "cus_1", "payment_intent": "pi_1"}
TRANSFER: Body = {"id": "tr_1", "object": "transfer", "reversals": listed("/v1/transfers/tr_1/reversals")}
FEE: Body = {"id": "fee_1", "object": "application_fee", "refunds": listed("/v1/application_fees/fee_1/refunds")}
ENTITLEMENT: Body = {"id": "ent_1", "object": "entitlements.active_entitlement", "feature": "feat_1"}
CREDIT_NOTE: Body = {"id": "cn_1", "object": "credit_note", "invoice": "in_1", "customer": "cus_1"}
SCHEDULE: Body = {
    "id": "sub_sched_1",
    "object": "subscription_schedule",
    "customer": "cus_1",
    "subscription": "sub_1",
    "released_subscription": None,
}
PLACES = {
    "customer": "/v1/customers/cus_1",
    "subscription": "/v1/subscriptions/sub_1",
    "subscription_item": "/v1/subscription_items/si_1",
    "subscription_schedule": "/v1/subscription_schedules/sub_sched_1",
    "invoice": "/v1/invoices/in_1",
    "payment_method": "/v1/payment_methods/pm_1",
    "coupon": "/v1/coupons/co_1",
    "promotion_code": "/v1/promotion_codes/promo_1",
    "price": "/v1/prices/price_1",
    "product": "/v1/products/prod_1",
    "balance_transaction": "/v1/balance_transactions/txn_1",
    "charge": "/v1/charges/ch_1",
    "transfer": "/v1/transfers/tr_1",
    "application_fee": "/v1/application_fees/fee_1",
    "entitlements.active_entitlement": "/v1/entitlements/active_entitlements/ent_1",
    "account": "/v1/accounts/acct_9",
    "person": "/v1/accounts/acct_9/persons/person_1",
    "capability": "/v1/accounts/acct_9/capabilities/card_payments",
    "bank_account": "/v1/accounts/acct_9/external_accounts/ba_1",
    "quote": "/v1/quotes/qt_1",
    "invoiceitem": "/v1/invoiceitems/ii_1",
}


def answers(body: Body) -> dict[str, Body]:
    """Give the object alone, in a list, and expanded in an answer that lives long."""
    alone = PLACES[body["object"]]
    found = {alone: body, f"{alone.rpartition('/')[0]}?limit=7": listed(alone.rpartition("/")[0], body)}
    # Only a subscription ever holds its items.
    if body is not ITEM:
        holder = f"/v1/payment_links/plink_{body['id']}?expand[0]=x"
        found[holder] = {"id": f"plink_{body['id']}", "object": "payment_link", "x": body}
    return found


def shelved(*bodies: Body, events: bool = True) -> tuple[Shelf, list[str]]:
    """Put each object on the shelf in all three ways."""
    shelf, paths = Shelf(events=events), []
    for body in bodies:
        for path, answer in answers(body).items():
            if path not in paths:
                assert shelf.put(path, answer), path
                paths.append(path)
    return shelf, paths


@dataclass(frozen=True)
class Written:
    """A write through the client: what Stripe answers, and the objects that it changed."""

    method: str
    path: str
    answer: Body
    changed: tuple[Body, ...]
    form: Body = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path} {','.join(self.form)}".strip()


@dataclass(frozen=True)
class Told:
    """An event: its body, its old values, and the objects that it changed."""

    event: str
    body: Body
    changed: tuple[Body, ...]
    previous: Body = field(default_factory=dict)

    def __str__(self) -> str:
        return self.event


GONE_CUSTOMER = {"id": "cus_1", "object": "customer", "deleted": True}
BALANCE: Body = {"object": "balance", "available": []}
DETACHED = {**METHOD, "customer": None}
CREDITED = {"id": "cbtxn_1", "object": "customer_balance_transaction", "customer": "cus_1"}
REFUND: Body = {"id": "re_1", "object": "refund", "charge": "ch_1", "balance_transaction": "txn_1"}
DISPUTE = {"id": "dp_1", "object": "dispute", "charge": "ch_1", "balance_transactions": [MONEY]}
INTENT = {"id": "pi_1", "object": "payment_intent", "customer": "cus_1", "latest_charge": "ch_1"}
OTHER_PRICE = {"id": "price_2", "object": "price", "product": "prod_1", "lookup_key": "gold"}
ACCOUNT = {"id": "acct_9", "object": "account"}
PERSON = {"id": "person_1", "object": "person", "account": "acct_9"}
CAPABILITY = {"id": "card_payments", "object": "capability", "account": "acct_9"}
BANK = {"id": "ba_1", "object": "bank_account", "account": "acct_9"}
OF_ACCOUNT = (ACCOUNT, PERSON, CAPABILITY, BANK)
QUOTE = {"id": "qt_1", "object": "quote", "customer": "cus_1", "subscription": "sub_1", "invoice": "in_1"}
PENDING = {"id": "ii_1", "object": "invoiceitem", "customer": "cus_1", "invoice": "in_1"}
BILLED = (CUSTOMER, SUBSCRIPTION, INVOICE)

# In the order of the table of implicit changes: one comment per row of it.
WRITES = [
    # Billing moves the customer's balance, delinquency, and the subscription's status and latest invoice.
    Written("post", "/v1/invoices/in_1/finalize", INVOICE, BILLED),
    Written("post", "/v1/invoices/in_1/pay", INVOICE, (*BILLED, CHARGE)),
    Written("post", "/v1/credit_notes", CREDIT_NOTE, (*BILLED, CHARGE), {"invoice": "in_1", "refund_amount": 5}),
    Written("post", "/v1/payment_intents/pi_1/confirm", INTENT, (*BILLED, CHARGE)),
    Written("post", "/v1/quotes/qt_1/accept", QUOTE, (*BILLED, QUOTE)),
    Written("post", "/v1/subscriptions", SUBSCRIPTION, BILLED, {"customer": "cus_1"}),
    # Transactions on the customer's balance.
    Written("post", "/v1/customers/cus_1/balance_transactions", CREDITED, (CUSTOMER,)),
    Written("post", "/v1/customers/cus_1/balance_transactions/cbtxn_1", CREDITED, (CUSTOMER,)),
    # A redeemed promotion code.
    Written("post", "/v1/subscriptions", SUBSCRIPTION, (CODE, COUPON), {"discounts": [{"promotion_code": "promo_1"}]}),
    Written("post", "/v1/customers/cus_1", CUSTOMER, (CODE, COUPON), {"promotion_code": "promo_1"}),
    Written("delete", "/v1/coupons/co_1", {"id": "co_1", "object": "coupon", "deleted": True}, (CODE, COUPON)),
    # Attaching and detaching.
    Written("post", "/v1/payment_methods/pm_1/attach", METHOD, (METHOD, CUSTOMER), {"customer": "cus_1"}),
    Written("post", "/v1/payment_methods/pm_1/detach", DETACHED, (METHOD, CUSTOMER, SUBSCRIPTION)),
    # The first source.
    Written(
        "post", "/v1/customers/cus_1/sources", {"id": "card_1", "object": "card"}, (CUSTOMER,), {"source": "tok_1"}
    ),
    # A deleted customer.
    Written("delete", "/v1/customers/cus_1", GONE_CUSTOMER, (CUSTOMER, SUBSCRIPTION, METHOD, SCHEDULE)),
    # Items of subscriptions.
    Written("post", "/v1/subscription_items", ITEM, (SUBSCRIPTION, ITEM), {"subscription": "sub_1"}),
    Written("post", "/v1/subscription_items/si_1", ITEM, (SUBSCRIPTION, ITEM), {"quantity": 2}),
    Written("delete", "/v1/subscription_items/si_1", {"id": "si_1", "deleted": True}, (SUBSCRIPTION, ITEM)),
    # Schedules.
    Written("post", "/v1/subscription_schedules/sub_sched_1/cancel", SCHEDULE, (SUBSCRIPTION, SCHEDULE)),
    Written(
        "post",
        "/v1/subscription_schedules/sub_sched_1/release",
        {**SCHEDULE, "subscription": None, "released_subscription": "sub_1"},
        (SUBSCRIPTION, SCHEDULE),
    ),
    # A lookup key that another price takes over.
    Written("post", "/v1/prices", OTHER_PRICE, (PRICE,), {"transfer_lookup_key": True, "lookup_key": "gold"}),
    Written("post", "/v1/prices/price_2", OTHER_PRICE, (PRICE,), {"transfer_lookup_key": True, "lookup_key": "gold"}),
    # A default price.
    Written("post", "/v1/products/prod_1", PRODUCT, (PRODUCT,), {"default_price": "price_2"}),
    Written("post", "/v1/prices/price_1", PRICE, (PRODUCT, PRICE), {"active": False}),
    # Refunds and disputes.
    Written("post", "/v1/refunds", REFUND, (CHARGE, MONEY), {"charge": "ch_1"}),
    Written("post", "/v1/refunds", REFUND, (CHARGE, TRANSFER), {"payment_intent": "pi_1", "reverse_transfer": True}),
    Written("post", "/v1/refunds", REFUND, (CHARGE, FEE), {"charge": "ch_1", "refund_application_fee": True}),
    Written("post", "/v1/disputes/dp_1/close", DISPUTE, (CHARGE, MONEY)),
    # Updates of what has no event "updated".
    Written("post", "/v1/quotes/qt_1", QUOTE, (QUOTE,)),
    Written("post", "/v1/invoiceitems/ii_1", PENDING, (PENDING, INVOICE)),
    Written("delete", "/v1/invoiceitems/ii_1", {"id": "ii_1", "object": "invoiceitem", "deleted": True}, (INVOICE,)),
    # Lines of invoices.
    Written("post", "/v1/invoices/in_1/add_lines", INVOICE, (INVOICE,)),
    Written("post", "/v1/invoices/in_1/remove_lines", INVOICE, (INVOICE,)),
    Written("post", "/v1/invoices/in_1/lines/il_1", LINE, (INVOICE,)),
    Written("post", "/v1/invoiceitems", PENDING, (INVOICE,), {"customer": "cus_1", "invoice": "in_1"}),
    # Accounts.
    Written("post", "/v1/accounts/acct_9", ACCOUNT, OF_ACCOUNT),
    Written("post", "/v1/accounts/acct_9/persons/person_1", PERSON, OF_ACCOUNT),
    Written("post", "/v1/accounts/acct_9/capabilities/card_payments", CAPABILITY, OF_ACCOUNT),
]
EVENTS = [
    Told("customer.updated", CUSTOMER, (CUSTOMER,)),
    Told("customer.subscription.updated", SUBSCRIPTION, (SUBSCRIPTION, ITEM)),
    Told("invoice.finalized", INVOICE, (INVOICE, CUSTOMER)),
    Told("invoice.paid", INVOICE, BILLED),
    Told("invoice.payment_failed", INVOICE, BILLED),
    Told("credit_note.created", CREDIT_NOTE, (INVOICE, CUSTOMER)),
    Told("promotion_code.updated", CODE, (CODE, COUPON), {"times_redeemed": 1}),
    Told("coupon.deleted", COUPON, (CODE, COUPON)),
    Told("payment_method.attached", METHOD, (METHOD, CUSTOMER)),
    Told("payment_method.detached", DETACHED, (METHOD, CUSTOMER, SUBSCRIPTION), {"customer": "cus_1"}),
    Told("payment_method.detached", DETACHED, (METHOD, CUSTOMER, SUBSCRIPTION)),
    Told("customer.source.created", {"id": "card_1", "object": "card", "customer": "cus_1"}, (CUSTOMER,)),
    Told("customer.deleted", CUSTOMER, (CUSTOMER, SUBSCRIPTION, METHOD, SCHEDULE, ITEM)),
    Told("customer.subscription.deleted", SUBSCRIPTION, (SUBSCRIPTION, ITEM, SCHEDULE)),
    Told("subscription_schedule.canceled", SCHEDULE, (SUBSCRIPTION, SCHEDULE)),
    Told("price.updated", PRICE, (PRICE, PRODUCT)),
    Told("product.updated", PRODUCT, (PRODUCT,)),
    Told("charge.refunded", {**CHARGE, "balance_transaction": "txn_1"}, (CHARGE, MONEY)),
    Told("refund.created", REFUND, (CHARGE, MONEY)),
    Told("charge.dispute.created", DISPUTE, (CHARGE, MONEY)),
    Told("invoice.updated", INVOICE, (INVOICE,)),
    Told("invoiceitem.created", PENDING, (PENDING, INVOICE)),
    Told("balance.available", BALANCE, (MONEY, {**CHARGE, "balance_transaction": MONEY})),
    Told("account.updated", ACCOUNT, OF_ACCOUNT),
    Told("person.updated", PERSON, (PERSON, ACCOUNT)),
    Told("capability.updated", CAPABILITY, (CAPABILITY, ACCOUNT)),
    Told("account.external_account.updated", BANK, (BANK, ACCOUNT)),
    Told("entitlements.active_entitlement_summary.updated", {"object": "x", "customer": "cus_1"}, (ENTITLEMENT,)),
]
