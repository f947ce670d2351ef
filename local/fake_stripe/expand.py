"""How a stored body is shown: embedded objects in full, and the properties that the caller asked to expand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.fake_stripe.billing import list_of
from local.fake_stripe.errors import not_expandable, parameter_invalid

if TYPE_CHECKING:
    from local.fake_stripe.store import Body, View

MAX_DEPTH = 4
# Lists that a body carries only when they are asked for: property -> object type, found by its `customer`.
_ON_CUSTOMER = {"subscriptions": "subscription", "tax_ids": "tax_id", "sources": "card"}


def present(view: View, body: Body) -> Body:
    """Show a stored body as a GET does: a subscription's items carry their prices and plans in full, as of now."""
    if body["object"] == "subscription_item":
        return _present_item(view, body)
    if body["object"] != "subscription":
        return body
    items = body["items"]
    shown = [_present_item(view, item) for item in items["data"]]
    first = shown[0] if shown else {"plan": None, "quantity": None}
    return {**body, "items": {**items, "data": shown}, "plan": first["plan"], "quantity": first["quantity"]}


def _present_item(view: View, item: Body) -> Body:
    price = view.get(item["price"])
    return {**item, "price": price, "plan": _plan(price) if price else None}


def _plan(price: Body) -> Body:
    recurring = price.get("recurring") or {}
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring.get("interval"),
        "interval_count": recurring.get("interval_count"),
        "livemode": price["livemode"],
        "metadata": price["metadata"],
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def expand(view: View, body: Body, paths: list[str]) -> Body:
    """Return the body with the objects at these dotted paths in place of their ids; the stored one stays as it is."""
    for path in paths:
        if path.count(".") >= MAX_DEPTH:
            raise parameter_invalid("expand", f"You cannot expand more than {MAX_DEPTH} levels of a property: {path}.")
        body = _at(view, body, path.split("."), path)
    return body


def _at(view: View, node: Any, parts: list[str], path: str) -> Any:
    if isinstance(node, list):
        return [_at(view, item, parts, path) for item in node]
    if isinstance(node, str):
        return node
    if node is None:
        return None
    if not isinstance(node, dict):
        raise not_expandable(path)
    name, rest = parts[0], parts[1:]
    if name not in node:
        node = {**node, name: _on_request(view, node, name, path)}
    value = _resolve(view, node[name])
    return {**node, name: _at(view, value, rest, path) if rest else value}


def _resolve(view: View, value: Any) -> Any:
    if isinstance(value, list):
        return [_resolve(view, item) for item in value]
    if isinstance(value, str):
        found = view.get(value)
        return value if found is None else present(view, found)
    return value


def _on_request(view: View, node: Body, name: str, path: str) -> Any:
    """Return a property that exists only when expanded."""
    kind = node.get("object")
    if kind == "customer" and name in _ON_CUSTOMER:
        found = view.newest_first(_ON_CUSTOMER[name], node["id"])
        return list_of(f"/v1/customers/{node['id']}/{name}", [present(view, each) for each in found])
    if kind == "customer" and name == "cash_balance":
        return {"object": "cash_balance", "available": None, "customer": node["id"], "livemode": node["livemode"]}
    if kind == "invoice" and name == "confirmation_secret":
        return {"client_secret": f"pi_{node['id'][3:]}_secret_x", "type": "payment_intent"}
    if kind in {"price", "coupon"} and name in {"tiers", "currency_options", "applies_to"}:
        return None
    raise not_expandable(path)
