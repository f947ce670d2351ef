"""Renders the catalog's two files: one operation, object type or event type per line, sorted, the same every time."""

from __future__ import annotations

import ast
import hashlib
import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from catalog import events, objects, operations, sources
from stripe_cache.core import catalog as runtime_catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

_EMBEDDED_VERSION = 2
"""To be counted up when `core/embedded.py` or `core/records.py` come to note other records than before."""


def catalog() -> str:
    """Render what every process loads: the operations."""
    # Thin events do not count: who listens to snapshot events alone would never hear of their objects.
    eventful = {name for e in events.event_types() if e.flavour == "snapshot" for name in e.objects}
    retrieves = {
        operations.PARAMETER.sub("{}", operation.path): operation.objects
        for operation in operations.operations()
        if operation.kind == "retrieve"
    }
    rows = [_operation(operation, eventful, retrieves) for operation in operations.operations()]
    return _document({"operations": rows}, {"rules": rules_of(runtime_catalog.read("effects.json"))})


def catalog_types() -> str:
    """Render what only documents, tests and rare events need: object types and event types."""
    templates: dict[str, list[str]] = {name: [] for name in objects.object_classes()}
    for operation in operations.operations():
        if operation.method == "get" and operation.kind != "action":
            for name in operation.objects:
                templates[name].append(operation.path)
    described = [
        [
            known.name,
            templates[known.name],
            list(known.secrets),
            list(known.personal),
            {field: list(types) for field, types in sorted(known.fields.items()) if types},
        ]
        for known in objects.object_classes().values()
    ]
    told = [[e.name, e.flavour, list(e.objects), e.action, e.twin] for e in events.event_types()]
    return _document({"objects": described, "events": told})


def _operation(operation: operations.Operation, eventful: set[str], retrieves: dict[str, tuple[str, ...]]) -> list[Any]:
    row = [operation.method, operation.path, operation.kind, list(operation.objects), operation.base]
    more: dict[str, Any] = {}
    if operation.partitions:
        more["partitions"] = list(operation.partitions)
    if operation.fields:
        # The fields of a template with parameters are found through its last parent.
        last = list(operations.PARAMETER.finditer(operation.path))[-1]
        more["fields"] = list(operation.fields)
        more["parents"] = list(retrieves.get(operations.PARAMETER.sub("{}", operation.path[: last.end()]), ()))
    if operation.method == "get" and (operation.fields or operation.partitions):
        more["eventless"] = not set(operation.objects) & eventful
    return [*row, more] if more else row


def rules_of(effects: Mapping[str, Any]) -> str:
    """Give another name to every set of rules by which entries note what voids them."""
    depends = sorted([name, row["field"], row["as"]] for row in effects["depends"] for name in row["objects"])
    at_large = sorted([name, row["inside"]] for name, row in effects["at_large"].items())
    noted = json.dumps([_EMBEDDED_VERSION, depends, at_large])
    return hashlib.sha256(noted.encode()).hexdigest()[:12]


def _document(tables: dict[str, list[list[Any]]], more: dict[str, str] | None = None) -> str:
    head = {"sdk": version("stripe"), "api_version": _api_version(), **(more or {})}
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for key, rows in tables.items():
        lines = ",\n".join(json.dumps(row, separators=(",", ":"), ensure_ascii=True) for row in rows)
        parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
    return "{" + ",\n".join(parts) + "}\n"


def _api_version() -> str:
    declared = sources.class_in("stripe._api_version", "_ApiVersion")
    for node in declared.body if declared else ():
        match node:
            case ast.Assign(targets=[ast.Name(id="CURRENT")], value=ast.Constant(value=str(current))):
                return current
    raise sources.SdkError("stripe._api_version says no current version any more")
