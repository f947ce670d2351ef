"""Side effects: what else changes at Stripe when an event arrives or a write is sent, as a reviewed table.

`data/effects.json` gives each row its reason. A row names ids found in the body (`ids`, dotted paths that also walk
into lists), object types whose collections change (`lists`, the member's field -> the body's field holding its value,
empty for none), what other answers depend on (`keys`, the dependency's kind -> the body's field) and object types any
of whose objects may have changed (`types`): the last resort where nothing names the one. Rows only ever void more, so
a row too many costs a read and a row too few costs a stale answer.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stripe_cache.core import catalog, records

_DEEPEST = 8
ANY = "any"
"""The kind of dependency that a row's `types` void."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One row of the table."""

    pattern: str
    """An event type, or `method path-template`; `*` stands for any method, and at the end for any continuation."""
    ids: tuple[str, ...]
    lists: Mapping[str, Mapping[str, str]]
    when: str
    """A request parameter that must be given, or empty."""
    owner: bool
    """The account that sent the event changes too."""
    keys: Mapping[str, str]
    types: tuple[str, ...]
    """Types of which every answer is void, whichever object it holds."""
    why: str

    def records(self, body: Mapping[str, Any], previous: Mapping[str, Any]) -> set[str]:
        """Name what the row voids for a body and its old values."""
        found = {i for holder in (body, previous) for path in self.ids for i in named(holder, path)}
        for object_type, fields in self.lists.items():
            member, old = (_member(fields, holder) for holder in (body, previous))
            found |= records.collection_records(object_type, member, old)
        found |= {records.dependency(ANY, object_type) for object_type in self.types}
        return found | self._dependencies(body) | self._dependencies(previous)

    def records_known(self, fields: Mapping[str, Any]) -> set[str]:
        """Name what the row voids as far as these fields tell it exactly: never a broad record."""
        found = {i for path in self.ids for i in named(fields, path)} | self._dependencies(fields)
        for object_type, sources in self.lists.items():
            member = _member(sources, fields)
            if any(value is not None for value in member.values()):
                found |= records.collection_records(object_type, member)
        return {name for name in found if not name.endswith("?*")}

    def _dependencies(self, body: Mapping[str, Any]) -> set[str]:
        return {records.dependency(kind, value) for kind, path in self.keys.items() for value in texts(body, path)}


@dataclass(frozen=True, slots=True)
class Dependency:
    """A field of an object's body naming what the object changes with, although no more than its name is inside."""

    field: str
    kind: str
    """What must happen to it, or empty: anything that voids it."""


@dataclass(frozen=True, slots=True)
class Effects:
    """The whole table."""

    events: tuple[Effect, ...]
    writes: tuple[Effect, ...]
    references: Mapping[str, str]
    """Fields and request parameters that name an object which the write may change -> why."""
    depends: Mapping[str, tuple[Dependency, ...]]
    """Object type -> what its answers depend on beyond themselves and what they embed."""
    at_large: Mapping[str, bool]
    """Object types that rows void as a whole -> whether an answer of another type is void too that holds one inside."""

    def of_event(self, event_type: str) -> list[Effect]:
        """Find the rows for an event type; thin `v1.` types share their snapshot twin's."""
        name = event_type.removeprefix("v1.")
        return [row for row in self.events if _covers(row.pattern, name)]

    def of_write(self, method: str, template: str, given: frozenset[str]) -> list[Effect]:
        """Find the rows for a write whose request parameters have these names, inner ones included."""
        return [
            row
            for row in self.writes
            if row.pattern.split(" ")[0] in {"*", method}
            and _covers(row.pattern.split(" ")[1], template)
            and (not row.when or row.when in given)
        ]


@functools.cache
def effects() -> Effects:
    """Read the table once."""
    document = catalog.read("effects.json")
    return Effects(
        tuple(_effect(row["event"], row) for row in document["events"]),
        tuple(_effect(row["write"], row) for row in document["writes"]),
        document["references"],
        _dependencies(document["depends"]),
        {name: row["inside"] for name, row in document["at_large"].items()},
    )


def named(body: object, path: str) -> set[str]:
    """Collect the ids at a dotted path; a list on the way stands for each of its items."""
    return set(filter(records.is_record, texts(body, path)))


def texts(body: object, path: str) -> list[str]:
    """Collect the texts at a dotted path as `named` does; an object there stands for its id."""
    return _walk(body, path.split("."), 0)


def _walk(value: object, path: list[str], depth: int) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in _walk(item, path, depth + 1)] if depth < _DEEPEST else []
    if path:
        return _walk(value.get(path[0]), path[1:], depth) if isinstance(value, Mapping) else []
    text = value.get("id") if isinstance(value, Mapping) else value
    return [text] if isinstance(text, str) and text else []


def _member(sources: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any]:
    """Tell what is known of a list's member: an empty source says that it has no such parent."""
    return {
        field: body[source] if source else None for field, source in sources.items() if source in body or not source
    }


def _covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _effect(pattern: str, row: Mapping[str, Any]) -> Effect:
    return Effect(
        pattern,
        tuple(row.get("ids", ())),
        row.get("lists", {}),
        row.get("when", ""),
        row.get("owner", False),
        row.get("keys", {}),
        tuple(row.get("types", ())),
        row["why"],
    )


def _dependencies(rows: list[Mapping[str, Any]]) -> Mapping[str, tuple[Dependency, ...]]:
    found: dict[str, tuple[Dependency, ...]] = {}
    for row in rows:
        for object_type in row["objects"]:
            found[object_type] = (*found.get(object_type, ()), Dependency(row["field"], row["as"]))
    return found
