"""Records: under which name an answer is kept, and therefore which names an invalidation must void.

- an object: its id, `cus_1`; what has no id: its path, `/v1/balance`
- a collection: its path, `/v1/customers`, `/v1/customers/cus_1/tax_ids`
- a partition: path and one filter that each member answers by a field of its own, `/v1/subscriptions?customer=cus_1`
- a broad record: template and `?*`, `/v1/subscriptions?*`. Nothing is kept under it, but whatever is kept under a
  partition or below a parent embeds it, so that voiding it voids them all: what to void when the body does not say
  which partition or parent an object belongs to.
- a dependency: `?customer-gone=cus_1`. Nothing is kept under it either; answers embed it that change when something
  happens to an object which they only name (`depends` in `data/effects.json`).
- a gate, the dependency `?connected=acct_1`: everything that is read on behalf of a connected account embeds it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import parse_qsl, unquote_plus

from stripe_cache.core import catalog
from stripe_cache.core.errors import RequestError
from stripe_cache.core.key import variant_of
from stripe_cache.core.policy import never_cached

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stripe_cache.core.catalog import Operation

# Visible ASCII without `{|}`, which Redis keys use around the namespace and the record; `#` names its counter.
_RECORD = re.compile(r"(?!#)[!-z~]{1,500}", re.ASCII)
_SHOWN = 60
_KEPT = frozenset({"retrieve", "list", "singleton"})
_CONNECTED = "connected"


@dataclass(frozen=True, slots=True)
class Placement:
    """The record an answer is kept under, and what its path says that it embeds besides the ids in its body."""

    record: str
    embeds: tuple[str, ...]


def is_record(value: object) -> TypeGuard[str]:
    """Tell whether a value can name a record; ids that cannot are never cached, so there is nothing to void."""
    return isinstance(value, str) and _RECORD.fullmatch(value) is not None


def validate_record(text: str) -> str:
    """Return the text, or raise RequestError: 1-500 visible ASCII characters, no `{`, `|`, `}`, no leading `#`."""
    if is_record(text):
        return text
    raise RequestError(
        f"{_shown(text)} cannot name a record: pass 1 to 500 visible ASCII characters without spaces, braces or '|' "
        "and not starting with '#', such as 'cus_123' or '/v1/prices'"
    )


def _shown(text: object) -> str:
    """Quote a name without its query: a filter may be an e-mail address, and errors end up in logs."""
    shown = repr(text.partition("?")[0] if isinstance(text, str) else text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}... ({len(str(text))} characters)"


def place(operation: Operation, path: str, pairs: Iterable[tuple[str, str]]) -> Placement:
    """Decide where the answer to a request is kept; `path` matched `operation`, `pairs` are the decoded query.

    Raises RequestError when the operation's answers are never kept, or when an id in the path cannot name a record.
    """
    if operation.method != "get" or operation.kind not in _KEPT:
        raise RequestError(f"answers of {operation.method.upper()} {operation.path} are never kept: send it to Stripe")
    values = path_values(operation, path)
    if operation.kind == "retrieve":
        below = catalog.match("get", path.rpartition("/")[0]) if len(values) > 1 else None
        # No event tells of it but those of what it lies below.
        parents = filter(is_record, values[-2:-1]) if below is not None and below.eventless else ()
        return Placement(validate_record(values[-1]), tuple(parents))
    if values:
        return Placement(validate_record(_fill(operation, values)), (broad(operation),))
    for name, value in _partition(operation, pairs):
        return Placement(f"{operation.path}?{name}={value}", (broad(operation),))
    return Placement(operation.path, ())


def broad(operation: Operation) -> str:
    """Name the record that everything kept below the template embeds."""
    return f"{operation.path}?*"


def dependency(kind: str, value: str) -> str:
    """Name what answers embed that depend on something happening to `value`; the id itself if `kind` is empty."""
    name = f"?{kind}={value}" if kind else value
    # Lookup keys are free text.
    return name if is_record(name) else f"?{kind}:{variant_of(kind, value)}"


def gate(account: str) -> str:
    """Name the record that everything read on a connected account's behalf embeds: voiding it voids all of that."""
    return dependency(_CONNECTED, account)


def is_gate(record: str) -> bool:
    """Tell whether a record is one that `gate` names."""
    return record.startswith(f"?{_CONNECTED}=")


def is_never_kept(record: str) -> bool:
    """Tell whether a record is a collection of nothing but types that no policy can cache: voiding it is no use.

    `embedded.py` refuses answers that embed such a collection, so nothing can depend on it. The policy's other bypassed
    types do not count: a process with other overrides may cache them.
    """
    if not record.startswith("/"):
        return False
    path, _, rest = record.partition("?")
    operation = _templates().get(path) if rest == "*" else catalog.match("get", path)
    return operation is not None and bool(operation.objects) and never_cached().issuperset(operation.objects)


@functools.cache
def _templates() -> Mapping[str, Operation]:
    return {operation.path: operation for operation in catalog.operations() if operation.method == "get"}


def is_broad(name: object) -> bool:
    """Tell whether a name is one that `broad` gives; only those may hold braces."""
    return isinstance(name, str) and name.endswith("?*") and any(broad(one) == name for one in catalog.operations())


def path_values(operation: Operation, path: str) -> tuple[str, ...]:
    """Decode the path's parameters, in order; the path must match the operation."""
    return tuple(
        unquote_plus(value)
        for segment, value in zip(operation.segments, path.split("/")[1:], strict=True)
        if segment.startswith("{")
    )


def parent_fields(collection: str) -> dict[str, str]:
    """Derive what a collection's path says of its members: below /v1/customers/cus_1 `customer` is cus_1."""
    operation = catalog.match("get", collection)
    if operation is None or not operation.fields:
        return {}
    return {field: v for field, v in zip(operation.fields, path_values(operation, collection), strict=True) if field}


def collection_records(
    object_type: str, body: Mapping[str, Any], previous: Mapping[str, Any] | None = None, *, released: bool = False
) -> set[str]:
    """Name every record of a collection that an object of the type is in, was in, or may be in.

    `body` is as much of the object as is known and `previous` its changed fields' old values. A field that is null puts
    the object in no partition; one that is absent could hold anything, so the broad record is named. With `released`
    a null may have replaced a value that nobody mentions: it counts as absent.
    """
    found: set[str] = set()
    for operation in catalog.collections_of(object_type):
        if operation.fields:
            found |= _nested(operation, body, previous or {}, released=released)
            continue
        found.add(operation.path)
        for name in operation.partitions:
            values = _values(name, body, previous or {}, released=released)
            found |= {broad(operation)} if values is None else {f"{operation.path}?{name}={v}" for v in values}
    return found


def records_below(object_type: str, object_id: str, *, everything: bool) -> set[str]:
    """Name what is kept one level below an object: what no event tells of or, when it is gone, everything."""
    found: set[str] = set()
    for operation in catalog.children_of(object_type):
        if everything or operation.eventless:
            single = len(operation.parameters) == 1
            found.add(_fill(operation, (object_id,)) if single else broad(operation))
    return {record for record in found if is_record(record) or record.endswith("?*")}


def records_named(text: str) -> tuple[str, ...]:
    """List the records that a caller means by an object's id, a path, or a path with one filter.

    Raises RequestError for anything else, and for paths that are never kept.
    """
    template = text.removesuffix("?*")
    if template != text and any(template == op.path and op.kind in _KEPT for op in catalog.operations()):
        return (text,)
    record = validate_record(text)
    if not record.startswith("/"):
        if "/" in record or "?" in record:
            raise RequestError(f"{_shown(record)} is neither an id nor a path: paths start with /v1/ or /v2/")
        for path in (f"/v1/{record}", f"/v1/{record}s"):
            # The name of an object is no id. Taken for one it would void nothing, and report success.
            if catalog.match("get", path) is not None:
                raise RequestError(
                    f"{record} is no id but a name of Stripe's: pass {path}, or the whole path of an object that is "
                    f"really called so, such as /v1/coupons/{record}"
                )
        return (record,)
    path, _, query = record.partition("?")
    operation = catalog.match("get", path)
    if operation is None:
        raise RequestError(
            f"{_shown(record)} is no path of Stripe API {catalog.api_version()}: pass a path such as /v1/prices, "
            "without host, trailing slash or empty segments, or an object's id"
        )
    placement = place(operation, path, parse_qsl(query))
    if "?" in placement.record or operation.kind == "retrieve" or not operation.partitions:
        return (placement.record,)
    return (placement.record, broad(operation))


def identifier(value: object) -> str | None:
    """Return the id that a field holds, expanded or not."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if is_record(value) else None


def _partition(operation: Operation, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Find the preferred filter; one given twice, or with a value no id can have, leaves the plain record."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    return [
        (name, given[name][0])
        for name in operation.partitions
        if len(given.get(name, ())) == 1 and is_record(f"{operation.path}?{name}={given[name][0]}")
        if given[name][0]
    ]


def _nested(operation: Operation, body: Mapping[str, Any], previous: Mapping[str, Any], *, released: bool) -> set[str]:
    """Name the list below each parent that the object names."""
    if len(operation.fields) != 1:
        return {broad(operation)}
    values = _values(operation.fields[0], body, previous, released=released)
    if values is None:
        return {broad(operation)}
    return {record for value in values if is_record(record := _fill(operation, (value,)))}


def _values(field: str, body: Mapping[str, Any], previous: Mapping[str, Any], *, released: bool) -> set[str] | None:
    """Collect the ids that a field holds and held; None when that cannot be known."""
    if field not in body:
        return None
    found: set[str] = set()
    for holder in (body, previous):
        value = holder.get(field)
        if value is None:
            continue
        if not isinstance(value, str) and identifier(value) is None:
            return None
        # An id that can name no record was never used as a filter's value in one.
        if (named := identifier(value)) is not None:
            found.add(named)
    if not found and released:
        return None
    return found


def _fill(operation: Operation, values: Sequence[str]) -> str:
    remaining = iter(values)
    return "".join(f"/{next(remaining) if s.startswith('{') else s}" for s in operation.segments)
