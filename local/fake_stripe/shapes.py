"""What a new object looks like: the defaults of its type, under what the caller sent.

A type without an entry in `DEFAULTS` gets the few fields that all objects have.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from local.fake_stripe.defaults import DEFAULTS, GENERIC

if TYPE_CHECKING:
    from local.fake_stripe.store import Body, Space

PREFIXES = {
    "account": "acct_",
    "billing.meter": "mtr_",
    "charge": "ch_",
    "checkout.session": "cs_",
    "coupon": "",
    "credit_note": "cn_",
    "customer": "cus_",
    "event": "evt_",
    "invoice": "in_",
    "invoiceitem": "ii_",
    "payment_intent": "pi_",
    "payment_link": "plink_",
    "payment_method": "pm_",
    "plan": "price_",
    "price": "price_",
    "product": "prod_",
    "promotion_code": "promo_",
    "quote": "qt_",
    "refund": "re_",
    "setup_intent": "seti_",
    "shipping_rate": "shr_",
    "subscription": "sub_",
    "subscription_item": "si_",
    "subscription_schedule": "sub_sched_",
    "tax_id": "txi_",
    "tax_rate": "txr_",
    "v2.core.event": "evt_",
    "webhook_endpoint": "we_",
}
SHORT_IDS = {"customer": 14, "product": 14, "coupon": 8}


def new_id(space: Space, object_type: str) -> str:
    """Return an id with the type's prefix and length."""
    prefix = PREFIXES.get(object_type, object_type.rpartition(".")[2][:6].strip("_") + "_")
    return space.new_id(prefix, SHORT_IDS.get(object_type, 24))


def base(space: Space, object_type: str, params: dict[str, Any], object_id: str | None = None) -> Body:
    """Return a new object of any type: defaults, then what the caller sent, then what only Stripe decides."""
    identifier = object_id or params.get("id") or new_id(space, object_type)
    defaults = DEFAULTS.get(object_type, GENERIC)
    now = int(time.time())
    body: Body = {"id": identifier, "object": object_type, **defaults, **overlay(defaults, params)}
    if object_type.startswith("v2."):
        body["created"] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now))
    else:
        body["created"] = now
    body["livemode"] = space.scope.livemode
    _finish(space, body, now)
    return body


def overlay(current: Body, params: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that change: metadata merged key by key, hashes too, everything else replaced."""
    changed: dict[str, Any] = {}
    for key, value in params.items():
        if key == "metadata":
            changed[key] = _metadata(current.get(key) or {}, value)
        elif isinstance(value, dict) and isinstance(current.get(key), dict):
            changed[key] = {**current[key], **overlay(current[key], value)}
        else:
            changed[key] = value
    return changed


def _metadata(current: dict[str, str], sent: Any) -> dict[str, str]:
    if not isinstance(sent, dict):
        return {}
    merged = {**current, **sent}
    return {key: str(value) for key, value in merged.items() if value not in {"", None}}


def _finish(space: Space, body: Body, now: int) -> None:
    kind = body["object"]
    if kind == "customer":
        body["invoice_prefix"] = body["invoice_prefix"] or space.new_id("", 8).upper()
    elif kind == "product":
        body["updated"] = now
    elif kind == "price":
        _finish_price(body)
    elif kind == "promotion_code":
        body["code"] = body["code"] or space.new_id("", 8).upper()
    elif kind in {"payment_intent", "setup_intent"}:
        body["client_secret"] = f"{body['id']}_secret_{space.new_id('', 25)}"
    elif kind == "webhook_endpoint":
        body.setdefault("status", "enabled")


def _finish_price(body: Body) -> None:
    amount = body["unit_amount"]
    body["unit_amount_decimal"] = None if amount is None else str(amount)
    if body["recurring"]:
        plain = {"interval": "month", "interval_count": 1, "meter": None, "trial_period_days": None}
        body["recurring"] = {**plain, "usage_type": "licensed", **body["recurring"]}
        body["type"] = "recurring"
