"""What the verbs behind an object's id do: POST /v1/invoices/{invoice}/pay and its like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.fake_stripe import billing
from local.fake_stripe.errors import parameter_missing

if TYPE_CHECKING:
    from local.fake_stripe.changes import Write
    from local.fake_stripe.store import Body

# (object type or *, action) -> fields to set, verbs of the events it causes besides `updated`.
_SIMPLE: dict[tuple[str, str], tuple[dict[str, Any], tuple[str, ...]]] = {
    ("invoice", "void"): ({"status": "void"}, ("voided",)),
    ("invoice", "mark_uncollectible"): ({"status": "uncollectible"}, ("marked_uncollectible",)),
    ("invoice", "send"): ({}, ("sent",)),
    ("payment_method", "detach"): ({"customer": None}, ("detached",)),
    ("subscription", "pause"): ({"status": "paused"}, ("paused",)),
    ("subscription", "resume"): ({"status": "active"}, ("resumed",)),
    ("payment_intent", "cancel"): ({"status": "canceled"}, ("canceled",)),
    ("quote", "finalize"): ({"status": "open"}, ("finalized",)),
    ("quote", "accept"): ({"status": "accepted"}, ("accepted",)),
    ("quote", "cancel"): ({"status": "canceled"}, ("canceled",)),
    ("credit_note", "void"): ({"status": "void"}, ("voided",)),
    ("subscription_schedule", "release"): ({"status": "released"}, ("released",)),
    ("checkout.session", "expire"): ({"status": "expired"}, ("expired",)),
    ("billing.meter", "deactivate"): ({"status": "inactive"}, ("deactivated",)),
    ("billing.meter", "reactivate"): ({"status": "active"}, ("reactivated",)),
    ("dispute", "close"): ({"status": "lost"}, ("closed",)),
    ("*", "cancel"): ({"status": "canceled"}, ("canceled",)),
    ("*", "archive"): ({"active": False}, ()),
    ("*", "unarchive"): ({"active": True}, ()),
    ("*", "activate"): ({"status": "active"}, ()),
    ("*", "deactivate"): ({"status": "inactive"}, ()),
    ("*", "enable"): ({"status": "enabled"}, ()),
    ("*", "disable"): ({"status": "disabled"}, ()),
    ("*", "expire"): ({"status": "expired"}, ("expired",)),
    ("*", "close"): ({"status": "closed"}, ("closed",)),
    ("*", "reject"): ({"status": "rejected"}, ()),
}


def act(write: Write, body: Body, action: str, params: dict[str, Any]) -> Body:
    """Run an action on an object; one that is not listed stores the fields it was sent."""
    kind = body["object"]
    if kind == "invoice" and action in {"pay", "finalize"}:
        return _invoice(write, body, action)
    if kind == "payment_intent" and action in {"confirm", "capture"}:
        return _confirm(write, body, params)
    if kind == "payment_method" and action == "attach":
        if not params.get("customer"):
            raise parameter_missing("customer")
        return write.update(body, {"customer": params["customer"]}, "attached")
    fields, verbs = _SIMPLE.get((kind, action)) or _SIMPLE.get(("*", action)) or (params, ())
    return write.update(body, fields, *verbs)


def cancel_subscription(write: Write, body: Body) -> Body:
    """End a subscription: it stays retrievable, and Stripe calls the event `deleted`."""
    now = billing.now_seconds()
    details = {**body["cancellation_details"], "reason": "cancellation_requested"}
    fields = {"status": "canceled", "canceled_at": now, "ended_at": now, "cancellation_details": details}
    after = write.update(body, fields, "deleted")
    # Stripe sends customer.subscription.deleted alone.
    write.changes.pop()
    return after


def _invoice(write: Write, body: Body, action: str) -> Body:
    after = {**body}
    verbs: tuple[str, ...] = ("finalized",) if body["status"] == "draft" else ()
    if action == "finalize":
        billing.finalize(after, billing.now_seconds())
    else:
        billing.settle(after, billing.now_seconds())
        verbs += ("paid", "payment_succeeded")
    return write.update(body, after, *verbs)


def _confirm(write: Write, body: Body, params: dict[str, Any]) -> Body:
    now = billing.now_seconds()
    charge = {
        "id": write.space.new_id("ch_"),
        "object": "charge",
        "amount": body["amount"],
        "created": now,
        "currency": body["currency"],
        "customer": body["customer"],
        "livemode": body["livemode"],
        "metadata": {},
        "paid": True,
        "payment_intent": body["id"],
        "refunded": False,
        "status": "succeeded",
    }
    write.create(charge, "succeeded")
    fields = {"status": "succeeded", "amount_received": body["amount"], "latest_charge": charge["id"]}
    return write.update(body, {**params, **fields}, "succeeded")
