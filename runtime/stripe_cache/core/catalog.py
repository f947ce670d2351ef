"""What Stripe's API consists of: operations, object types, event types; generated from the SDK, looked up here.

Nothing is read at import. The operations (what a request needs) are read at the first lookup, the types only when
asked for: `tools/generate_catalog.py` writes both files.
"""

from __future__ import annotations

import functools
import json
import pkgutil
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What RFC 3986 allows in a segment; never empty, so neither `//` nor a trailing slash passes.
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+", re.ASCII)
# Encoded slashes, backslashes, dots and NULs, and broken encodings: the server may read another path than we do.
_DUBIOUS = re.compile(r"%(?:2[fFeE]|5[cC]|00|(?![0-9A-Fa-f]{2}))|/\.{1,2}(?:/|$)")
_LONGEST_PATH = 2000


@dataclass(frozen=True, slots=True)
class Operation:
    """One method and path template of Stripe's API."""

    method: str
    path: str
    """The template as the SDK spells it, such as `/v1/customers/{customer}/tax_ids`."""
    kind: str
    """`retrieve|list|search|singleton|stream` (GET), `create|update|delete`, or `action`: everything else, also a GET
    that computes its answer."""
    objects: tuple[str, ...]
    """The object types it returns; for a list, the types of its members."""
    base: str
    """The host: `api`, `files`, `connect` or `meter_events`."""
    segments: tuple[str, ...]
    """The template's segments; a parameter's starts with `{`."""
    partitions: tuple[str, ...] = ()
    """Filters whose value each member carries in a top-level field of the same name, the preferred one first."""
    fields: tuple[str, ...] = ()
    """For each path parameter, the member's field that holds its value, or an empty string."""
    parents: tuple[str, ...] = ()
    """The object types that the last path parameter names."""
    eventless: bool = False
    """No snapshot event carries what this returns: it must be voided together with its parent."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name the path parameters, in order."""
        return tuple(segment[1:-1] for segment in self.segments if segment.startswith("{"))


@dataclass(frozen=True, slots=True)
class ObjectType:
    """One value of `object`, and what its fields hold."""

    name: str
    templates: tuple[str, ...]
    """Paths that answer a GET with it."""
    secrets: tuple[str, ...]
    """Dotted fields that look secret by name."""
    personal: tuple[str, ...]
    """Dotted fields that look personal by name."""
    references: Mapping[str, tuple[str, ...]]
    """Top-level fields that hold an id until expanded -> the types they may name."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One event type; `twin` names the same change in the other flavour, or is empty."""

    name: str
    flavour: str
    """`snapshot` or `thin`."""
    objects: tuple[str, ...]
    action: str
    twin: str


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node]
    parameter: _Node | None = None
    operation: Operation | None = None


@dataclass(frozen=True, slots=True)
class _Operations:
    api_version: str
    rules: str
    rows: tuple[Operation, ...]
    roots: dict[str, _Node]
    collections: dict[str, tuple[Operation, ...]]
    children: dict[str, tuple[Operation, ...]]


def match(method: str, path: str) -> Operation | None:
    """Find the operation that a request calls, in about a microsecond; None for whatever the catalog does not list.

    `path` is the URL's path as sent. A literal segment wins over a parameter. Paths that a server may read in another
    way than we do (empty or dot segments, encoded slashes, a trailing slash) are nobody's. Never raises.
    """
    root = _operations().roots.get(method.lower())
    if root is None or len(path) > _LONGEST_PATH or not _PATH.fullmatch(path):
        return None
    if ("%" in path or "/." in path) and _DUBIOUS.search(path):
        return None
    return _descend(root, path.split("/"), 1)


def _descend(node: _Node, segments: list[str], index: int) -> Operation | None:
    while index < len(segments):
        literal = node.literals.get(segments[index])
        index += 1
        if literal is None:
            if node.parameter is None:
                return None
            node = node.parameter
        elif node.parameter is None:
            node = literal
        elif found := _descend(literal, segments, index):
            return found
        else:
            node = node.parameter
    return node.operation


def operations() -> tuple[Operation, ...]:
    """Every operation, by path, then method."""
    return _operations().rows


def collections_of(object_type: str) -> tuple[Operation, ...]:
    """Every readable operation whose answer changes with any object of the type: its lists, and what needs no id."""
    return _operations().collections.get(object_type, ())


def children_of(object_type: str) -> tuple[Operation, ...]:
    """Every list and singleton one level below an object of the type, such as a customer's tax ids."""
    return _operations().children.get(object_type, ())


def api_version() -> str:
    """Name the API version that the catalog was derived from."""
    return _operations().api_version


def rules() -> str:
    """Name the rules by which this version notes in an entry what voids it; entries made by others are not read."""
    return _operations().rules


def object_types() -> Mapping[str, ObjectType]:
    """Every object type by name; the first call reads a file that requests do not need."""
    return _types()[0]


def event_types() -> Mapping[str, EventType]:
    """Every event type by name, snapshot and thin; the first call reads a file that requests do not need."""
    return _types()[1]


# functools.cache does not lock: two threads that come first both load, and one result stays. Both are equal, immutable
# and take milliseconds, so a lock would buy nothing.
@functools.cache
def _operations() -> _Operations:
    document = read("catalog.json")
    rows = tuple(_operation(row) for row in document["operations"])
    roots: dict[str, _Node] = {}
    collections: dict[str, list[Operation]] = {}
    children: dict[str, list[Operation]] = {}
    for operation in rows:
        _insert(roots.setdefault(operation.method, _Node({})), operation)
        if operation.method == "get" and operation.base == "api" and operation.kind in {"list", "singleton"}:
            for name in operation.objects:
                collections.setdefault(name, []).append(operation)
            for name in operation.parents:
                children.setdefault(name, []).append(operation)
    return _Operations(document["api_version"], document["rules"], rows, roots, _frozen(collections), _frozen(children))


def _operation(row: list[Any]) -> Operation:
    method, path, kind, objects, base, *rest = row
    more: Mapping[str, Any] = rest[0] if rest else {}
    return Operation(
        method,
        path,
        kind,
        tuple(objects),
        base,
        tuple(path.split("/")[1:]),
        tuple(more.get("partitions", ())),
        tuple(more.get("fields", ())),
        tuple(more.get("parents", ())),
        more.get("eventless", False),
    )


def _insert(node: _Node, operation: Operation) -> None:
    for segment in operation.segments:
        if segment.startswith("{"):
            node.parameter = node.parameter or _Node({})
            node = node.parameter
        else:
            node = node.literals.setdefault(segment, _Node({}))
    node.operation = operation


def _frozen(index: dict[str, list[Operation]]) -> dict[str, tuple[Operation, ...]]:
    return {name: tuple(found) for name, found in index.items()}


@functools.cache
def _types() -> tuple[Mapping[str, ObjectType], Mapping[str, EventType]]:
    document = read("catalog_types.json")
    objects = {
        name: ObjectType(name, tuple(templates), tuple(secrets), tuple(personal), _references(references))
        for name, templates, secrets, personal, references in document["objects"]
    }
    events = {
        name: EventType(name, flavour, tuple(carried), action, twin)
        for name, flavour, carried, action, twin in document["events"]
    }
    return MappingProxyType(objects), MappingProxyType(events)


def _references(fields: Mapping[str, Iterable[str]]) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({field: tuple(types) for field, types in fields.items()})


def read(name: str) -> dict[str, Any]:
    """Read one of the package's own data files, also from inside a zip."""
    # Not importlib.resources: importing it takes 11 ms of a cold start, four times what the file takes.
    content = pkgutil.get_data("stripe_cache.core", f"data/{name}")
    if content is None:
        raise FileNotFoundError(f"stripe_cache/core/data/{name} is missing: the package was not installed whole")
    return cast("dict[str, Any]", json.loads(content))
