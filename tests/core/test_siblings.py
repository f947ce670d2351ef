"""For each write that Stripe's API has: whatever `effects.json` says changes with it is void after it.

Which answers those are is not asked of the code that voids: the answers are put on the shelf through the real planner,
and looked for after the write.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shelf import Shelf

from stripe_cache.core import catalog
from stripe_cache.core.effects import Effect, effects
from stripe_cache.core.policy import Policy
from stripe_cache.core.writes import is_read_only

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from catalog import samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stripe_cache.core.catalog import Operation

POLICY = Policy.default()
WRITES = [o for o in catalog.operations() if o.method != "get" and not is_read_only(o, o.path)]
PARAMETERS = frozenset(row.when for row in effects().writes if row.when)


def value(path: str) -> str:
    """Give the id that Stripe's answer has at a path: the same one wherever it is named."""
    return f"x_{path.replace('.', '_')}"


def answer_of(operation: Operation, rows: list[Effect]) -> dict[str, Any]:
    """Make Stripe's answer, in which whatever the rows look for is filled."""
    body: dict[str, Any] = {"object": operation.objects[0] if operation.objects else "nothing"}
    for row in rows:
        sources = (source for fields in row.lists.values() for source in fields.values() if source)
        for path in (*row.ids, *row.keys.values(), *sources):
            samples.put(body, path, value(path))
    return body | {name: value(name) for name in effects().references} | {"id": value("id")}


def expected(row: Effect, *, deleted: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the answers that a row says are old: path and body. After a deletion only the id is known."""
    known = {"id"} if deleted else None
    for path in row.ids if not deleted else ():
        yield f"/v1/tax_codes/{value(path)}", {"id": value(path), "object": "tax_code"}
    for object_type, fields in row.lists.items():
        yield from _lists(object_type, {f: s for f, s in fields.items() if s and (known is None or s in known)}, fields)
    for kind, path in row.keys.items():
        for object_type, dependencies in effects().depends.items():
            for one in dependencies:
                if one.kind == kind and (known is None or path in known):
                    body: dict[str, Any] = {"id": f"the_{kind}_{one.field}", "object": object_type}
                    samples.put(body, one.field, value(path))
                    yield from _wherever(body, inside=True)
    for object_type in row.types:
        yield from _wherever({"id": "any", "object": object_type}, inside=effects().at_large[object_type])


def _lists(
    object_type: str, known: dict[str, str], fields: dict[str, str] | Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the lists of a type: of the parent or partition that the write names, or anybody's if it names none."""
    for operation in catalog.collections_of(object_type):
        if len(operation.parameters) > 1 or POLICY.rule(operation) is None:
            continue
        if operation.fields:
            (field,) = operation.fields
            if fields.get(field) != "":
                parent = value(known[field]) if field in known else "anybody"
                yield _list("/".join(parent if s.startswith("{") else s for s in ("", *operation.segments)))
            continue
        yield _list(operation.path)
        for name in operation.partitions:
            if fields.get(name) != "":
                yield _list(f"{operation.path}?{name}={value(known[name]) if name in known else 'anybody'}")


def _list(path: str) -> tuple[str, dict[str, Any]]:
    return path, {"object": "list", "url": path.partition("?")[0], "data": []}


def _wherever(body: dict[str, Any], *, inside: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give an object alone and listed, and if it may be there, inside another answer."""
    for operation in samples.readings(body["object"]):
        parameters = len(operation.parameters)
        if POLICY.rule(operation) is not None and parameters == 1:
            yield operation.path.replace(operation.segments[-1], body["id"]), body
    for operation in catalog.collections_of(body["object"]):
        if not operation.parameters and operation.kind == "list" and POLICY.rule(operation) is not None:
            yield f"{operation.path}?limit=9", {"object": "list", "url": operation.path, "data": [body]}
    if inside:
        yield f"/v1/payment_links/of_{body['id']}", {"id": f"of_{body['id']}", "object": "payment_link", "x": body}


def cases(operation: Operation) -> list[tuple[tuple[str, ...], list[Effect]]]:
    """List the request without and with the parameters that make a difference, and the rows for each."""
    method, path = operation.method, operation.path
    found: list[tuple[tuple[str, ...], list[Effect]]] = [((), effects().of_write(method, path, frozenset()))]
    rows = [row for row in effects().of_write(method, path, PARAMETERS) if row.when]
    return [*found, (tuple(sorted(PARAMETERS)), rows)] if rows else found


@pytest.mark.parametrize("operation", WRITES, ids=lambda o: f"{o.method} {o.path}")
def test_what_the_table_says_changes_with_a_write_is_void_after_it(operation: Operation) -> None:
    path = "/".join(f"path_{i}A" if s.startswith("{") else s for i, s in enumerate(("", *operation.segments)))
    shelf = Shelf()
    for parameters, rows in cases(operation):
        for deleted in (False, True) if operation.method == "delete" else (False,):
            told = answer_of(operation, rows)
            body = {"id": value("id"), "object": told["object"], "deleted": True} if deleted else told
            old = dict(one for row in rows for one in expected(row, deleted=deleted))
            if not deleted and not parameters:
                for name in effects().references:
                    old[f"/v1/tax_codes/{value(name)}"] = {"id": value(name), "object": "tax_code"}
            assert all(shelf.has(kept) or shelf.put(kept, answer) for kept, answer in old.items()), parameters
            shelf.write(operation.method, path, body, **{parameter: {"a": "b"} for parameter in parameters})
            assert [kept for kept in old if shelf.has(kept)] == [], parameters


def test_each_row_is_tried_by_some_write() -> None:
    tried = {id(row) for operation in WRITES for _, rows in cases(operation) for row in rows}
    assert [row.pattern for row in effects().writes if id(row) not in tried] == []
