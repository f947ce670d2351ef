"""Writes: from a POST or DELETE to the records to void, so that its sender reads what it wrote.

Before the write the body it returns is not known: collections are named by the request where the object is being
created, and by their broad record where it exists already, because it may be leaving any partition. Of the side
effects, those are named that path and form tell exactly. After the write everything named before is named again, and
what the body says besides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from stripe_cache.core import catalog, records
from stripe_cache.core.effects import effects
from stripe_cache.core.policy import is_never_cached

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stripe_cache.core.catalog import Operation

# POSTs that only answer a question: reads with a body too large or too private for a query.
_QUESTION = re.compile(r"/v1/invoices/create_preview|/v2/(?:[a-z0-9_{}]+/)+search")
# Stripe's ids: letters, an underscore, and a random rest that has a digit or a capital, unlike the names of resources.
_ID = re.compile(r"[a-z]{1,12}(?:_[a-z]{2,8})*_(?=[A-Za-z0-9]*[A-Z0-9])[A-Za-z0-9]{2,}")
_NAME = re.compile(r"\[([a-z_]+)\]")


def is_read_only(operation: Operation | None, path: str) -> bool:
    """Tell whether a request changes nothing at Stripe: every GET the catalog knows, and POSTs that only compute."""
    if operation is not None and operation.method == "get":
        return True
    return _QUESTION.fullmatch(path if operation is None else operation.path) is not None


def touched_before(operation: Operation | None, path: str, pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Name the records to void before a write is sent; sorted, empty for a read.

    `operation` is what matched the path, None if nothing did; `pairs` are the decoded form fields. Never raises.
    """
    if is_read_only(operation, path):
        return ()
    if operation is None:
        return _voidable(_unknown(path))
    given = list(pairs)
    found = _below_the_path(operation, path)
    fields = _fields(given) if operation.kind == "create" else {}
    # Below /v1/customers/cus_1 an object belongs to cus_1, be it new or not, and stays there.
    fields |= records.parent_fields(path if operation.kind == "create" else path.rpartition("/")[0])
    for name in operation.objects:
        found |= records.collection_records(name, fields)
    names = effects().references
    found |= {value for name, value in given if _last(name) in names and records.is_record(value)}
    known = _fields(given)
    if operation.kind == "create" and records.is_record(known.get("id")):
        # Coupons, plans and products may be created under an id of the caller's choice: somebody may have asked for it.
        found.add(known["id"])
    if operation.segments[-1].startswith("{"):
        known["id"] = records.path_values(operation, path)[-1]
    for row in effects().of_write(operation.method, operation.path, _names(given)):
        found |= row.records_known(known)
    return _voidable(found)


def touched_after(
    operation: Operation | None, path: str, pairs: Iterable[tuple[str, str]], body: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """Name the records to void once the answer is there, or is known never to come (`body` None); sorted.

    Always includes what `touched_before` named for the same write. Never raises.
    """
    if is_read_only(operation, path):
        return ()
    given = list(pairs)
    found = set(touched_before(operation, path, given))
    if body is not None:
        found |= _returned(operation, body)
    if operation is not None:
        known = body if body is not None else _fields(given)
        for row in effects().of_write(operation.method, operation.path, _names(given)):
            found |= row.records(known, {})
    return _voidable(found)


def _below_the_path(operation: Operation, path: str) -> set[str]:
    """Name each object on the path, what is kept below it, and the collections it is in."""
    found: set[str] = set()
    values = records.path_values(operation, path)
    segments = path.split("/")
    position = 0
    for index, segment in enumerate(operation.segments, start=1):
        if not segment.startswith("{"):
            continue
        value = values[position]
        position += 1
        if not records.is_record(value):
            continue
        found.add(value)
        at = "/".join(segments[: index + 1])
        owner = catalog.match("get", at)
        for name in owner.objects if owner is not None else ():
            found |= records.collection_records(name, records.parent_fields("/".join(segments[:index])))
            gone = operation.kind == "delete" and index == len(operation.segments)
            found |= records.records_below(name, value, everything=gone)
        # The collection the write names by its own path: known exactly, whatever the object's fields say.
        found |= {p for p in ("/".join(segments[:index]), at) if _is_collection(p)}
    found |= {path} if _is_collection(path) else set()
    return found


def _is_collection(path: str) -> bool:
    operation = catalog.match("get", path)
    return operation is not None and operation.kind in {"list", "singleton"} and records.is_record(path)


def _returned(operation: Operation | None, body: Mapping[str, Any]) -> set[str]:
    """Name the returned object, its collections, and the objects it names that the write may have changed."""
    found: set[str] = set()
    object_id, object_type = records.identifier(body), body.get("object")
    if object_id is not None and not is_never_cached(object_type):
        found.add(object_id)
    if isinstance(object_type, str):
        # A deletion answers {id, object, deleted}: its collections were named before, by the broad record.
        if body.get("deleted") is not True:
            found |= records.collection_records(object_type, body)
        if object_id is not None:
            found |= records.records_below(object_type, object_id, everything=body.get("deleted") is True)
    for name in effects().references:
        if (referenced := records.identifier(body.get(name))) is not None and operation is not None:
            found.add(referenced)
    return found


def _unknown(path: str) -> set[str]:
    """Name what a path outside the catalog seems to touch: its ids, and every prefix that is a collection."""
    segments = path.split("/")
    found = {segment for segment in segments if _ID.fullmatch(segment) and records.is_record(segment)}
    for index in range(2, len(segments) + 1):
        prefix = "/".join(segments[:index])
        operation = catalog.match("get", prefix)
        for name in operation.objects if operation is not None else ():
            found |= records.collection_records(name, {})
        found |= {prefix} if _is_collection(prefix) else set()
    return found


def _fields(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Take the top-level fields of a form; an empty value means null."""
    return {name: value or None for name, value in pairs if "[" not in name}


def _names(pairs: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Collect the names of the parameters, inner ones included: `items`, `price_data` of `items[0][price_data][x]`."""
    return frozenset(part for name, _ in pairs for part in (name.partition("[")[0], *_NAME.findall(name)))


def _voidable(found: set[str]) -> tuple[str, ...]:
    """Sort, and leave out what no process ever keeps."""
    return tuple(sorted(name for name in found if not records.is_never_kept(name)))


def _last(name: str) -> str:
    """Return the innermost name of a form field: `coupon` of `discounts[0][coupon]`."""
    inner = _NAME.findall(name)
    return inner[-1] if inner else name
