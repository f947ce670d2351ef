"""Event types: which object each snapshot event carries and which object each thin event points to."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass

from catalog import objects, sources
from catalog.event_objects import EVENT_OBJECTS


@dataclass(frozen=True, slots=True)
class EventType:
    """One event type; `twin` is the other flavour of the same change, if there is one."""

    name: str
    flavour: str
    objects: tuple[str, ...]
    action: str
    twin: str


@functools.cache
def event_types() -> tuple[EventType, ...]:
    """Read the type literal of `event` and every class of thin events; snapshot events first, sorted by name."""
    thin = _thin()
    snapshots = {name: _objects(name, thin) for name in sorted(_snapshot_names())}
    return tuple(
        [
            EventType(name, "snapshot", found, name.rpartition(".")[2], f"v1.{name}" if f"v1.{name}" in thin else "")
            for name, found in snapshots.items()
        ]
        + [
            EventType(name, "thin", found, name.rpartition(".")[2], _twin(name, snapshots))
            for name, found in sorted(thin.items())
        ]
    )


def _twin(name: str, snapshots: dict[str, tuple[str, ...]]) -> str:
    twin = name.removeprefix("v1.")
    return twin if twin in snapshots and name.startswith("v1.") else ""


def _snapshot_names() -> list[str]:
    event = sources.class_in("stripe._event", "Event")
    found = sources.literals(sources.fields(event)["type"]) if event else []
    if not found:
        raise sources.SdkError("stripe._event.Event.type is no Literal any more: there is no list of event types")
    return found


def _thin() -> dict[str, tuple[str, ...]]:
    """Map each thin event type to the object type that its fetch_related_object() returns, if it has one."""
    found: dict[str, tuple[str, ...]] = {}
    for file in sorted((sources.sdk_root() / "events").glob("_*_event.py")):
        module = f"stripe.events.{file.stem}"
        for node in sources.tree(module).body:
            if isinstance(node, ast.ClassDef) and (name := _lookup_type(node)):
                found[name] = found.get(name, ()) or _related(module, node)
    return found


def _lookup_type(node: ast.ClassDef) -> str:
    for item in node.body:
        match item:
            case ast.Assign(targets=[ast.Name(id="LOOKUP_TYPE")], value=value):
                return str(ast.literal_eval(value))
    return ""


def _related(module: str, node: ast.ClassDef) -> tuple[str, ...]:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "fetch_related_object" and item.returns is not None:
            return objects.resolve(module, item.returns)
    return ()


def _objects(name: str, thin: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Decide by the reviewed table, then by the thin twin, then by the longest prefix that is an object type."""
    for pattern, (found, _) in EVENT_OBJECTS.items():
        if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])):
            return found
    if related := thin.get(f"v1.{name}"):
        return related
    known = objects.object_classes()
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        if (prefix := ".".join(parts[:length])) in known:
            return (prefix,)
    raise sources.SdkError(f"no rule says which object {name} carries: add a row to tools/catalog/event_objects.py")
