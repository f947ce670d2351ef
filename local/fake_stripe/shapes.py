"""What a new object looks like: Stripe's fields with the values of an ordinary one, for the types that matter here.

`DEFAULTS` names every field in Stripe's order, so that bodies have realistic sizes; whatever the caller sends is laid
over them. A type without an entry gets the few fields that all objects have.
"""

from __future__ import annotations

import time
from typing import Any

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

_ADDRESS = {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None}

DEFAULTS: dict[str, Body] = {
    "customer": {
        "address": None,
        "balance": 0,
        "created": 0,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": "",
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    },
    "product": {
        "active": True,
        "attributes": [],
        "created": 0,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": "",
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": 0,
        "url": None,
    },
    "price": {
        "active": True,
        "billing_scheme": "per_unit",
        "created": 0,
        "currency": "usd",
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": None,
        "recurring": None,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time",
        "unit_amount": None,
        "unit_amount_decimal": None,
    },
    "coupon": {
        "amount_off": None,
        "created": 0,
        "currency": None,
        "duration": "once",
        "duration_in_months": None,
        "livemode": False,
        "max_redemptions": None,
        "metadata": {},
        "name": None,
        "percent_off": None,
        "redeem_by": None,
        "times_redeemed": 0,
        "valid": True,
    },
    "promotion_code": {
        "active": True,
        "code": "",
        "created": 0,
        "customer": None,
        "customer_account": None,
        "expires_at": None,
        "livemode": False,
        "max_redemptions": None,
        "metadata": {},
        "promotion": {"coupon": None, "type": "coupon"},
        "restrictions": {"first_time_transaction": False, "minimum_amount": None, "minimum_amount_currency": None},
        "times_redeemed": 0,
    },
    "payment_method": {
        "allow_redisplay": "unspecified",
        "billing_details": {"address": _ADDRESS, "email": None, "name": None, "phone": None, "tax_id": None},
        "card": {
            "brand": "visa",
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "unchecked"},
            "country": "US",
            "display_brand": "visa",
            "exp_month": 8,
            "exp_year": 2031,
            "fingerprint": "mToisGZ01V71BCos",
            "funding": "credit",
            "generated_from": None,
            "last4": "4242",
            "networks": {"available": ["visa"], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": 0,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    },
    "payment_intent": {
        "amount": 0,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": "",
        "confirmation_method": "automatic",
        "created": 0,
        "currency": "usd",
        "customer": None,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            },
            "link": {"persistent_token": None},
        },
        "payment_method_types": ["card", "link"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    },
    "tax_id": {
        "country": None,
        "created": 0,
        "customer": None,
        "livemode": False,
        "owner": None,
        "type": "unknown",
        "value": "",
        "verification": {"status": "pending", "verified_address": None, "verified_name": None},
    },
    "account": {
        "business_profile": {"name": None, "support_email": None, "url": None},
        "business_type": None,
        "capabilities": {},
        "charges_enabled": True,
        "country": "US",
        "created": 0,
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "metadata": {},
        "payouts_enabled": True,
        "settings": {"dashboard": {"display_name": None, "timezone": "Etc/UTC"}},
        "type": "standard",
    },
}
GENERIC: Body = {"created": 0, "livemode": False, "metadata": {}}


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
