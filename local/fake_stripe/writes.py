"""POST and DELETE: create, update, delete, and the changes that one write causes in other objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.fake_stripe import actions, billing, shapes
from local.fake_stripe.errors import parameter_invalid, parameter_missing, resource_missing
from local.fake_stripe.reads import singleton

if TYPE_CHECKING:
    from local.fake_stripe.changes import Write
    from local.fake_stripe.operations import Match, Operation
    from local.fake_stripe.store import Body, Space

_REQUIRED = {
    "price": ("currency",),
    "product": ("name",),
    "subscription": ("customer",),
    "payment_intent": ("amount", "currency"),
    "promotion_code": ("promotion",),
    "tax_id": ("type", "value"),
}
_MADE_OF_OTHERS = {"subscription", "subscription_item", "invoice"}
# Parameters that name another object, which must exist.
_REFERENCES = {"customer": "customer", "price": "price", "coupon": "coupon", "default_price": "price"}


def apply(write: Write, match: Match, path: str, params: dict[str, Any]) -> Body:
    """Run a POST or DELETE and return the stored body that answers it; raises ApiError as Stripe would answer."""
    operation, space = match.operation, write.space
    if operation.method == "DELETE":
        return _delete(write, match)
    _check_references(space, params)
    action = operation.action
    if action and _is_creation(operation):
        noun = operation.segments[-3]
        parent = _existing(space, match.values[-1], noun)
        return _create(write, operation.object_type, {noun.removesuffix("s"): parent["id"], **params})
    if action:
        return actions.act(write, _existing(space, match.values[-1], operation.object_type), action, params)
    if operation.is_item:
        return _update(write, _existing(space, match.values[-1], operation.object_type), params)
    if _is_singleton(operation):
        before = {**singleton(space.view(), match, path), "id": path}
        return write.update(before, shapes.overlay(before, params))
    return _create(write, operation.object_type, params)


def _is_creation(operation: Operation) -> bool:
    """Tell a sub-collection (/v1/customers/{customer}/tax_ids) from a verb (/v1/invoices/{invoice}/pay)."""
    last = operation.segments[-1]
    noun = operation.object_type.rpartition(".")[2]
    return last.endswith("s") and (noun.endswith(last.removesuffix("s")) or last == "sources")


def _is_singleton(operation: Operation) -> bool:
    return operation.segments[-1] in {"balance_settings", "settings", "cash_balance"}


def _existing(space: Space, object_id: str, kind: str) -> Body:
    body = space.get(object_id)
    if body is None or body.get("deleted"):
        raise resource_missing(kind, object_id)
    return body


def _check_references(space: Space, params: dict[str, Any]) -> None:
    for name, kind in _REFERENCES.items():
        value = params.get(name)
        if isinstance(value, str):
            known = space.get(value)
            if known is None or known.get("deleted"):
                raise resource_missing(kind, value, name)


def _create(write: Write, object_type: str, params: dict[str, Any]) -> Body:
    for name in _REQUIRED.get(object_type, ()):
        if params.get(name) is None:
            raise parameter_missing(name)
    space = write.space
    if params.get("id") and space.get(str(params["id"])):
        raise parameter_invalid("id", f"{object_type} already exists: {params['id']}")
    if object_type in _MADE_OF_OTHERS:
        return _create_billing(write, object_type, params)
    if object_type == "price" and isinstance(params.get("product_data"), dict):
        product = write.create(shapes.base(space, "product", params["product_data"]))
        params = {key: value for key, value in params.items() if key != "product_data"} | {"product": product["id"]}
    if object_type == "price" and not params.get("product"):
        raise parameter_missing("product")
    body = shapes.base(space, object_type, params)
    if object_type == "promotion_code":
        coupon = body["promotion"].get("coupon")
        _existing(space, str(coupon), "coupon")
    if object_type in {"customer_balance_transaction", "card"}:
        _change_customer(write, body)
    return write.create(body, *(("attached",) if object_type == "payment_method" and body["customer"] else ()))


def _create_billing(write: Write, object_type: str, params: dict[str, Any]) -> Body:
    space = write.space
    if object_type == "subscription":
        return _create_subscription(write, params)
    if object_type == "subscription_item":
        subscription = _existing(space, str(params.get("subscription")), "subscription")
        item = billing.new_item(space, subscription["id"], params, billing.now_seconds())
        _replace_items(write, subscription, [*subscription["items"]["data"], item])
        return item
    billed = space.get(str(params["subscription"])) if params.get("subscription") else None
    return write.create(billing.new_invoice(space, params, billed))


def _change_customer(write: Write, body: Body) -> None:
    """Do to the customer what Stripe does by itself: a new balance, and the first card as the default one."""
    customer = _existing(write.space, str(body.get("customer")), "customer")
    if body["object"] == "card":
        write.update(customer, {"default_source": customer["default_source"] or body["id"]})
        return
    body["ending_balance"] = customer["balance"] + int(body.get("amount") or 0)
    write.update(customer, {"balance": body["ending_balance"]})


def _create_subscription(write: Write, params: dict[str, Any]) -> Body:
    discounts = params.get("discounts") or []
    body, invoice = billing.new_subscription(write.space, params)
    body["discounts"] = [write.space.new_id("di_") for _ in discounts]
    write.create(invoice, "finalized", "paid", "payment_succeeded")
    for discount in discounts:
        _redeem(write, discount)
    for item in body["items"]["data"]:
        write.space.put(item)
    return write.create(body)


def _redeem(write: Write, discount: dict[str, Any]) -> None:
    """Count a redemption: the caller named neither object for a change, yet both have one."""
    promotion = write.space.get(str(discount.get("promotion_code")))
    if promotion:
        write.update(promotion, {"times_redeemed": promotion["times_redeemed"] + 1})
    coupon = write.space.get(str(promotion["promotion"]["coupon"] if promotion else discount.get("coupon")))
    if coupon:
        write.update(coupon, {"times_redeemed": coupon["times_redeemed"] + 1})


def _update(write: Write, before: Body, params: dict[str, Any]) -> Body:
    if before["object"] == "subscription" and isinstance(params.get("items"), list):
        before = _replace_items(write, before, _merged_items(write.space, before, params["items"]))
        params = {key: value for key, value in params.items() if key != "items"}
        if not params:
            return before
    if before["object"] == "price" and params.pop("transfer_lookup_key", None):
        for other in list(write.space.view().newest_first("price")):
            if other["lookup_key"] == params.get("lookup_key") and other["id"] != before["id"]:
                write.update(other, {"lookup_key": None})
    if before["object"] == "subscription_item":
        subscription = _existing(write.space, before["subscription"], "subscription")
        items = _merged_items(write.space, subscription, [{**params, "id": before["id"]}])
        _replace_items(write, subscription, items)
        return next(item for item in items if item["id"] == before["id"])
    fields = shapes.overlay(before, params)
    if before["object"] == "product":
        fields["updated"] = billing.now_seconds()
    return write.update(before, fields)


def _merged_items(space: Space, subscription: Body, sent: list[dict[str, Any]]) -> list[Body]:
    items: dict[str, Body] = {item["id"]: item for item in subscription["items"]["data"]}
    for change in sent:
        item_id = str(change.get("id", ""))
        if not item_id:
            item = billing.new_item(space, subscription["id"], change, billing.now_seconds())
            items[item["id"]] = item
        elif item_id not in items:
            raise resource_missing("subscription_item", item_id, "items[0][id]")
        elif change.get("deleted"):
            del items[item_id]
        else:
            price = change.get("price", items[item_id]["price"])
            items[item_id] = {**items[item_id], **shapes.overlay(items[item_id], change), "price": price, "plan": price}
    return list(items.values())


def _replace_items(write: Write, subscription: Body, items: list[Body]) -> Body:
    """Give a subscription other items; each item is an object of its own too, and has no events."""
    kept = {item["id"] for item in items}
    for item in subscription["items"]["data"]:
        if item["id"] not in kept:
            write.space.remove(item["id"], {"id": item["id"], "object": "subscription_item", "deleted": True})
    for item in items:
        if write.space.get(item["id"]) != item:
            write.space.put(item)
    return write.update(subscription, {"items": {**subscription["items"], "data": items, "total_count": len(items)}})


def _delete(write: Write, match: Match) -> Body:
    operation = match.operation
    if not operation.is_item:
        return _delete_discount(write, match)
    body = _existing(write.space, match.values[-1], operation.object_type)
    if body["object"] == "subscription":
        return actions.cancel_subscription(write, body)
    if body["object"] == "subscription_item":
        subscription = _existing(write.space, body["subscription"], "subscription")
        rest = [item for item in subscription["items"]["data"] if item["id"] != body["id"]]
        _replace_items(write, subscription, rest)
        return {"id": body["id"], "object": "subscription_item", "deleted": True}
    if body["object"] == "customer":
        for subscription in list(write.space.view().newest_first("subscription", body["id"])):
            if subscription["status"] != "canceled":
                actions.cancel_subscription(write, subscription)
    return write.delete(body)


def _delete_discount(write: Write, match: Match) -> Body:
    """Take the discount off a customer or a subscription: the tombstone has no id of its own."""
    parent = _existing(write.space, match.values[0], match.operation.segments[0].removesuffix("s"))
    cleared: Body = {"discounts": []} if parent["object"] == "subscription" else {"discount": None}
    write.update(parent, cleared)
    return {"id": f"di_{parent['id']}", "object": "discount", "deleted": True}
