"""Subscriptions and invoices: the two types whose bodies are made of other objects."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from local.fake_stripe import shapes
from local.fake_stripe.errors import parameter_missing, resource_missing

if TYPE_CHECKING:
    from local.fake_stripe.store import Body, Space

MONTH = 30 * 24 * 3600


def list_of(url: str, data: list[Body], *, has_more: bool = False, total: int | None = None) -> Body:
    """Return Stripe's list object."""
    counted = {} if total is None else {"total_count": total}
    return {"object": "list", "data": data, "has_more": has_more, **counted, "url": url}


def new_subscription(space: Space, params: dict[str, Any]) -> tuple[Body, Body]:
    """Return an active subscription and its first, paid invoice; neither is stored yet."""
    sent = {key: value for key, value in params.items() if key != "items"}
    body = shapes.base(space, "subscription", sent)
    created = body["created"]
    items = [new_item(space, body["id"], item, created) for item in params.get("items") or []]
    if not items:
        raise parameter_missing("items")
    body |= {"billing_cycle_anchor": created, "start_date": created}
    body["items"] = list_of(f"/v1/subscription_items?subscription={body['id']}", items, total=len(items))
    invoice = new_invoice(space, {"customer": body["customer"], "billing_reason": "subscription_create"}, body)
    settle(invoice, created)
    body["latest_invoice"] = invoice["id"]
    return body, invoice


def new_item(space: Space, subscription: str, params: dict[str, Any], now: int) -> Body:
    """Return a subscription item; its price is kept as an id and shown in full by `present`."""
    price = params.get("price") or params.get("plan")
    if not price:
        raise parameter_missing("items[0][price]")
    known = space.get(str(price))
    if known is None or known["object"] != "price":
        raise resource_missing("price", str(price), "items[0][price]")
    return {
        "id": shapes.new_id(space, "subscription_item"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": now,
        "current_period_end": now + MONTH,
        "current_period_start": now,
        "discounts": [],
        "metadata": params.get("metadata") or {},
        "plan": price,
        "price": price,
        "quantity": params.get("quantity", 1),
        "subscription": subscription,
        "tax_rates": [],
    }


def new_invoice(space: Space, params: dict[str, Any], subscription: Body | None = None) -> Body:
    """Return a draft invoice, with one line per item of the subscription it is for."""
    body = shapes.base(space, "invoice", params)
    customer = space.get(str(body["customer"])) or {}
    body |= {"customer_email": customer.get("email"), "customer_name": customer.get("name")}
    body |= {"period_start": body["created"], "period_end": body["created"]}
    lines = []
    if subscription:
        details = {"metadata": subscription["metadata"], "subscription": subscription["id"]}
        body["parent"] = {"quote_details": None, "subscription_details": details, "type": "subscription_details"}
        lines = [_line(space, body, item) for item in subscription["items"]["data"]]
    body["lines"] = list_of(f"/v1/invoices/{body['id']}/lines", lines, total=len(lines))
    total = sum(line["amount"] for line in lines)
    for field in (
        "amount_due",
        "amount_remaining",
        "subtotal",
        "subtotal_excluding_tax",
        "total",
        "total_excluding_tax",
    ):
        body[field] = total
    return body


def finalize(body: Body, now: int) -> None:
    """Turn a draft invoice into an open one."""
    body["status"] = "open"
    body["number"] = body["number"] or f"{body['id'][3:11].upper()}-0001"
    body["hosted_invoice_url"] = f"https://invoice.stripe.com/i/{body['id']}"
    body["invoice_pdf"] = f"https://pay.stripe.com/invoice/{body['id']}/pdf"
    body["effective_at"] = now
    body["status_transitions"] = {**body["status_transitions"], "finalized_at": now}


def settle(body: Body, now: int) -> None:
    """Pay an invoice, finalizing it first."""
    if body["status"] == "draft":
        finalize(body, now)
    body |= {
        "status": "paid",
        "amount_paid": body["total"],
        "amount_remaining": 0,
        "attempted": True,
        "attempt_count": 1,
    }
    body["status_transitions"] = {**body["status_transitions"], "paid_at": now}


def _line(space: Space, invoice: Body, item: Body) -> Body:
    price = space.get(item["price"]) or {}
    amount = (price.get("unit_amount") or 0) * (item["quantity"] or 0)
    parent = {
        "invoice_item": None,
        "proration": False,
        "subscription": item["subscription"],
        "subscription_item": item["id"],
    }
    return {
        "id": space.new_id("il_"),
        "object": "line_item",
        "amount": amount,
        "currency": price.get("currency", "usd"),
        "description": f"{item['quantity']} x {price.get('nickname') or price.get('id')}",
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": invoice["livemode"],
        "metadata": {},
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": parent,
            "type": "subscription_item_details",
        },
        "period": {"end": item["current_period_end"], "start": item["current_period_start"]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price.get("id"), "product": price.get("product")},
            "type": "price_details",
            "unit_amount_decimal": price.get("unit_amount_decimal"),
        },
        "quantity": item["quantity"],
        "subtotal": amount,
        "taxes": [],
    }


def now_seconds() -> int:
    """Return the wall clock in the whole seconds that Stripe stores."""
    return int(time.time())
