"""Bodies to try the rules on: an event's object with every reference filled, and the answers that belong with it.

Nothing here knows which event voids what. It knows what names what: an object that names the event's object, or is
named by it, or names the same third one, has the same ids in the same places.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from stripe_cache.core import catalog, events
from stripe_cache.core.effects import effects
from stripe_cache.core.embedded import embedded_records
from stripe_cache.core.policy import never_cached
from stripe_cache.core.records import Placement, place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stripe_cache.core.catalog import Operation

ACCOUNT = "acct_1"
"""The account that every event is sent by."""
# Where effects.json looks for ids inside a body, besides the references that the catalog knows.
_NESTED: Mapping[str, Mapping[str, str]] = {
    "subscription": {"items.data.id": "subscription_item"},
    "invoice": {
        "parent.subscription_details.subscription": "subscription",
        "lines.data.parent.invoice_item_details.invoice_item": "invoiceitem",
    },
    "promotion_code": {"promotion.coupon": "coupon"},
    "discount": {"source.coupon": "coupon"},
    "billing.alert_triggered": {"alert": "billing.alert"},
    "dispute": {"balance_transactions": "balance_transaction"},
    "person": {"account": "account"},
}
# The same object under the same id, as another type shows it.
_TWINS: Mapping[str, str] = {
    "price": "plan",
    "plan": "price",
    "card": "payment_method",
    "account": "v2.core.account",
}
# Fields that name an account although it is not expanded there.
_OF_THE_SENDER = frozenset({"account"})


def carried_by(event: str) -> tuple[str, ...]:
    """List the object types that an event may carry."""
    return catalog.event_types()[event].objects


@functools.cache
def sample(name: str) -> dict[str, Any]:
    """Make a body of the type with every reference filled."""
    body: dict[str, Any] = {"id": "own", "object": name}
    for field in catalog.object_types()[name].references:
        body[field] = f"{field}-id"
    for path in _NESTED.get(name, {}):
        put(body, path, f"{path}-id")
    return body


def event_of(event_type: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Make the event that carries a body."""
    return {"id": "evt_1", "object": "event", "type": event_type, "data": {"object": body}, "account": ACCOUNT}


@functools.cache
def voided_by(event_type: str, carried: str) -> frozenset[str]:
    """Name the records that an event about the sample voids."""
    return frozenset(events.affected(event_of(event_type, sample(carried))).records)


@functools.cache
def readings(name: str) -> tuple[Operation, ...]:
    """List the operations whose answer is one object of the type, as far as a policy may keep it."""
    gets = (o for o in catalog.operations() if o.method == "get" and o.kind in {"retrieve", "singleton"})
    return tuple(o for o in gets if name in o.objects and not never_cached().intersection(o.objects))


def belonging(name: str, carried: str) -> list[tuple[str, dict[str, Any]]]:
    """Make the answers of one object of the type that belongs with the sample of an event's object: path and body.

    There are several where the type can be read in several places, or the sample names it in several fields.
    """
    named = [field for field, kinds in catalog.object_types()[carried].references.items() if name in kinds]
    named += [path for path, kind in _NESTED.get(carried, {}).items() if kind == name]
    ids = [f"{field}-id" for field in named] + (["own"] if name in {carried, _TWINS.get(carried)} else [])
    made = []
    for own in ids or ["its-own"]:
        body: dict[str, Any] = {"id": own, "object": name}
        fields = {*catalog.object_types()[name].references, *(one.field for one in effects().depends.get(name, ()))}
        for field in fields - {"object"}:
            put(body, field, _shared(name, field, carried))
        for operation in readings(name):
            path = _path(operation, name, carried, own)
            singular = {key: value for key, value in body.items() if key != "id"}
            made.append((path, singular if operation.kind == "singleton" else body))
    return made


@functools.cache
def noted(name: str, carried: str) -> frozenset[str]:
    """Name the records that void any of those answers."""
    found: set[str] = set()
    for path, body in belonging(name, carried):
        operation = catalog.match("get", path)
        placed = place(operation, path, ()) if operation is not None else Placement("", ())
        found |= {placed.record, *embedded_records(body, placed.record, placed.embeds)}
    return frozenset(found)


def put(body: dict[str, Any], path: str, value: str) -> None:
    """Set a dotted path; a step called `data` is a list."""
    *inner, last = path.split(".")
    node = body
    for step in inner:
        held = node.setdefault(step, [{}] if step == "data" else {})
        node = held[0] if isinstance(held, list) else held
    node[last] = value


def _shared(name: str, field: str, carried: str) -> str:
    """Give the id in a field of the object that belongs with the sample: the sample's own, or one that it has too."""
    body, last = sample(carried), field.rpartition(".")[2]
    kinds = set(catalog.object_types()[name].references.get(field, ())) or {last.removeprefix("default_")}
    if carried in kinds:
        return "own"
    if isinstance(body.get(last), str):
        return str(body[last])
    for other, named in catalog.object_types()[carried].references.items():
        if kinds.intersection(named):
            return f"{other}-id"
    return ACCOUNT if last in _OF_THE_SENDER else f"another-{last}"


def _path(operation: Operation, name: str, carried: str, own: str) -> str:
    """Fill the template: the last parameter of a retrieval with the object's id, the others with its parents'."""
    parameters = iter(operation.parameters)
    count = len(operation.parameters)
    filled = []
    for index, segment in enumerate(operation.segments):
        if not segment.startswith("{"):
            filled.append(segment)
            continue
        next(parameters)
        count -= 1
        is_own = count == 0 and operation.kind == "retrieve"
        filled.append(own if is_own else _parent(operation, index, name, carried))
    return "/" + "/".join(filled)


def _parent(operation: Operation, index: int, name: str, carried: str) -> str:
    """Give the id of the parent that a template names at a segment."""
    prefix = "/" + "/".join("x" if segment.startswith("{") else segment for segment in operation.segments[: index + 1])
    owner = catalog.match("get", prefix)
    if owner is not None and carried in owner.objects:
        return "own"
    return _shared(name, operation.segments[index][1:-1], carried)
