"""What is wrong with the tables that people edit, policy.json and effects.json, in words that name the row.

A mistyped name in them breaks nothing that anybody would notice: a type is not cached, an object is not voided.
"""

from __future__ import annotations

import functools
import json
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from catalog import sources
from stripe_cache.core import catalog

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

TIMES = ("memory_ttl", "ttl", "ttl_with_events", "stale_window")
BYPASSES = ("secret", "volatile")
_FIELD = re.compile(r"^ +(\w+): ", re.MULTILINE)


def problems(policy: str, effects: str) -> list[str]:
    """Check both tables, given as text."""
    found: list[str] = []
    for name, text, check in (("policy.json", policy, _policy), ("effects.json", effects, _effects)):
        try:
            found += [f"{name}: {problem}" for problem in check(json.loads(text, object_pairs_hook=_unique))]
        except ValueError as error:
            found.append(f"{name}: {error}")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} stands there twice, and the last one would win")
    return dict(pairs)


def _policy(document: dict[str, Any]) -> Iterator[str]:
    groups: dict[str, bool] = {}
    for name, row in document["types"].items():
        yield from _unknown(name, [name], catalog.object_types(), "object type")
        group, cached = row.get("group"), "bypass" not in row
        if groups.setdefault(str(group), cached) is not cached:
            yield f"{name}.group is {group!r}, which holds {'bypassed' if cached else 'cached'} types: name another"
        yield from _row(name, row, cached=cached)
    yield from _row("lists", {"group": "", **document["lists"]}, cached=True)


def _row(name: str, row: dict[str, Any], *, cached: bool) -> Iterator[str]:
    known = ("group", "reason", *(TIMES if cached else ("bypass",)))
    if not cached and (times := [field for field in TIMES if field in row]):
        yield f"{name} has a bypass and {times[0]}: one of them must go"
        return
    yield from _unknown(name, row, known, "field")
    yield from (f"{name}.{field} is missing" for field in known if field not in row)
    if not cached and row["bypass"] not in BYPASSES:
        yield f"{name}.bypass is {row['bypass']!r}: use one of {', '.join(BYPASSES)}"
    for field in TIMES if cached else ():
        value = row.get(field, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            yield f"{name}.{field} is {value!r}: give seconds"


def _effects(document: dict[str, Any]) -> Iterator[str]:
    for row in (*document["events"], *document["writes"]):
        lists = row.get("lists", {})
        paths = [*row.get("ids", ()), *row.get("keys", {}).values()]
        for fields in lists.values():
            paths += [path for value in fields.values() for path in ([value] if isinstance(value, str) else value)]
        words = {word for path in paths for word in path.split(".") if word}
        place = row.get("event") or row.get("write")
        yield from _unknown(place, sorted(words), known_fields(), "field of Stripe's objects")
        yield from _unknown(place, lists, catalog.object_types(), "object type")
        for name in row.get("types", ()):
            if name not in document["at_large"]:
                yield f"{place}: no answer notes that it holds {name!r}: give it a row under at_large"
    kinds = {kind for row in (*document["events"], *document["writes"]) for kind in row.get("keys", {})}
    for row in document["depends"]:
        place = f"depends on {row['field']}"
        yield from _unknown(place, row["field"].split("."), known_fields(), "field of Stripe's objects")
        yield from _unknown(place, row["objects"], catalog.object_types(), "object type")
        yield from _unknown(place, [row["as"]], {"", *kinds}, "kind that any row voids")
    yield from _unknown("at_large", document["at_large"], catalog.object_types(), "object type")


def _unknown(place: str, words: Iterable[str], known: Collection[str], what: str) -> Iterator[str]:
    for word in words:
        if word not in known:
            near = get_close_matches(word, known, 1)
            yield f"{place}: {word!r} is no {what}" + (f": did you mean {near[0]}?" if near else "")


@functools.cache
def known_fields() -> frozenset[str]:
    """Collect every name that the SDK annotates in any of its classes."""
    files = sorted(sources.sdk_root().rglob("_*.py"))
    return frozenset(name for file in files for name in _FIELD.findall(file.read_text(encoding="utf-8")))
