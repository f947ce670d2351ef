"""Side effects: what else changes at Stripe when an event arrives or a write is sent, as a reviewed table.

`data/effects.json` gives each row its reason. A row names ids found in the body (`ids`, dotted paths that also walk
into lists) and object types whose collections change (`lists`, the member's field -> the body's field holding its
value). Rows only ever void more, so a row too many costs a read and a row too few costs a stale answer.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stripe_cache.core import catalog, records

_DEEPEST = 8


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
    why: str

    def records(self, body: Mapping[str, Any], previous: Mapping[str, Any]) -> set[str]:
        """Name what the row voids for a body and its old values."""
        found = {i for holder in (body, previous) for path in self.ids for i in named(holder, path)}
        for object_type, fields in self.lists.items():
            member, old = ({to: h[source] for to, source in fields.items() if source in h} for h in (body, previous))
            found |= records.collection_records(object_type, member, old)
        return found


@dataclass(frozen=True, slots=True)
class Effects:
    """The whole table."""

    events: tuple[Effect, ...]
    writes: tuple[Effect, ...]
    references: Mapping[str, str]
    """Fields and request parameters that name an object which the write may change -> why."""

    def of_event(self, event_type: str) -> list[Effect]:
        """Find the rows for an event type; thin `v1.` types share their snapshot twin's."""
        name = event_type.removeprefix("v1.")
        return [row for row in self.events if _covers(row.pattern, name)]

    def of_write(self, method: str, template: str, given: frozenset[str]) -> list[Effect]:
        """Find the rows for a write whose request parameters' top-level names are `given`."""
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
    )


def named(body: object, path: str) -> set[str]:
    """Collect the ids at a dotted path; a list on the way stands for each of its items."""
    return set(_walk(body, path.split("."), 0))


def _walk(value: object, path: list[str], depth: int) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in _walk(item, path, depth + 1)] if depth < _DEEPEST else []
    if not path:
        found = records.identifier(value)
        return [] if found is None else [found]
    return _walk(value.get(path[0]), path[1:], depth) if isinstance(value, Mapping) else []


def _covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _effect(pattern: str, row: Mapping[str, Any]) -> Effect:
    return Effect(
        pattern,
        tuple(row.get("ids", ())),
        row.get("lists", {}),
        row.get("when", ""),
        row.get("owner", False),
        row["why"],
    )
