"""Changes to events: snapshot events with `data.object`, and thin events that only point at the object."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from local.fake_stripe.expand import present
from local.fake_stripe.operations import event_types, router

if TYPE_CHECKING:
    from local.fake_stripe.changes import Change
    from local.fake_stripe.store import Body, Space

API_VERSION = "2026-10-28.endive"
_PREFIXES = {
    "bank_account": "customer.source",
    "card": "customer.source",
    "discount": "customer.discount",
    "source": "customer.source",
    "subscription": "customer.subscription",
    "tax_id": "customer.tax_id",
}


def event_type(object_type: str, verb: str) -> str | None:
    """Return the type of the event that a change causes, or None where Stripe has no such event."""
    prefix = _PREFIXES.get(object_type, object_type)
    if prefix.startswith("issuing."):
        prefix = prefix.replace(".", "_")
    name = f"{prefix}.{verb}"
    return name if name in event_types() else None


def snapshots(space: Space, changes: list[Change], request_id: str | None, idempotency_key: str | None) -> list[Body]:
    """Store and return one snapshot event per change that has a type."""
    made = []
    for change in changes:
        kind = event_type(change.after["object"], change.verb)
        if kind is None:
            continue
        body: Body = {
            "id": space.new_id("evt_1"),
            "object": "event",
            "api_version": API_VERSION,
            "created": int(time.time()),
            "data": {"object": present(space.view(), change.after)},
            "livemode": space.scope.livemode,
            "pending_webhooks": 0,
            "request": {"id": request_id, "idempotency_key": idempotency_key},
            "type": kind,
        }
        if change.verb == "updated" and change.before is not None:
            body["data"]["previous_attributes"] = difference(change.before, change.after)
        space.put(body)
        made.append(body)
    return made


def thin(space: Space, snapshot: Body) -> Body:
    """Store and return the thin twin of a snapshot event."""
    subject = snapshot["data"]["object"]
    template = router().retrieve_template(subject["object"]) or f"/v1/{subject['object']}s/{{id}}"
    url = template[: template.rindex("{")] + subject["id"]
    for name in ("customer", "account", "subscription"):
        url = url.replace(f"{{{name}}}", str(subject.get(name)))
    body: Body = {
        "id": space.new_id("evt_2"),
        "object": "v2.core.event",
        "changes": None,
        "context": None,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{int(time.time() * 1000) % 1000:03d}Z",
        "livemode": space.scope.livemode,
        "reason": {"type": "request", "request": snapshot["request"]},
        "related_object": {"id": subject["id"], "type": subject["object"], "url": url},
        "snapshot_event": snapshot["id"],
        "type": f"v1.{snapshot['type']}",
    }
    space.put(body)
    return body


def difference(before: Any, after: Any) -> Any:
    """Return what the fields that changed were before."""
    changed = {}
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        changed[key] = difference(old, new) if isinstance(old, dict) and isinstance(new, dict) else old
    return changed
