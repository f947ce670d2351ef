"""docs/coverage.md claims no more than the client and the engine do, row by row."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from shelf import Shelf

from stripe_cache.core import catalog
from stripe_cache.core.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from catalog import samples  # noqa: E402 (a program's own modules)

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
HOLDER = "/v1/payment_links/plink_1?expand[0]=x"
LONG = 40 * 86400.0
"""Nothing is kept for so long."""
EXPANDED = {kind for one in catalog.object_types().values() for kinds in one.references.values() for kind in kinds}


@dataclass(frozen=True)
class Row:
    """What the document says of one type."""

    name: str
    own: tuple[str, ...]
    others: tuple[str, ...]
    lists_only: tuple[str, ...]
    lists: str
    no_events: float
    with_events: float


def rows() -> list[Row]:
    found = []
    for line in (ROOT / "docs" / "coverage.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 8 and cells[0].startswith("`"):
            name, own, others, lists_only, lists, _, no_events, with_events = cells
            events = (expanded(cell) for cell in (own, others, lists_only))
            found.append(Row(re.findall("`([^`]+)`", name)[0], *events, lists, *map(seconds, (no_events, with_events))))
    return found


def expanded(cell: str) -> tuple[str, ...]:
    """Undo the short writing: `a.{b, c}` and `a.*` (2)."""
    found: list[str] = []
    for text, count in re.findall(r"`([^`]+)`(?: \((\d+)\))?", cell):
        stem, _, action = text.rpartition(".")
        if text.endswith("}"):
            stem, _, several = text.partition(".{")
            found += [f"{stem}.{action}" for action in several.rstrip("}").split(", ")]
        elif count:
            known = [event for event in catalog.event_types() if event.rpartition(".")[0] == stem and thick(event)]
            assert len(known) == int(count), text
            found += known
        else:
            found.append(f"{stem}.{action}")
    return tuple(found)


def thick(event: str) -> bool:
    return catalog.event_types()[event].flavour == "snapshot"


def seconds(cell: str) -> float:
    number, unit = cell.split(" ")
    return float(number) * UNITS[unit]


ROWS = rows()
IDS = [row.name for row in ROWS]


def lists_of(row: Row) -> dict[str, dict[str, Any]]:
    """Give the lists of a type that need no parent, with one member that is nobody's."""
    return {
        operation.path: {"object": "list", "url": operation.path, "data": [{"object": row.name, "id": "in_a_list"}]}
        for operation in catalog.collections_of(row.name)
        if operation.kind == "list" and not operation.parameters
    }


def test_every_kept_type_has_a_row_and_most_of_its_cells_say_something() -> None:
    assert sorted(IDS) == sorted(name for name, rule in Policy.default().types.items() if rule.cacheable)
    assert sum(len(row.own) for row in ROWS) > 130
    assert sum(len(row.others) for row in ROWS) > 200
    assert sum(len(row.lists_only) for row in ROWS) > 25


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_an_event_under_events_of_others_voids_the_object_and_what_embeds_it(row: Row) -> None:
    shelf = Shelf()
    for event in filter(thick, chain(row.own, row.others)):
        gone = []
        for carried in samples.carried_by(event):
            for path, body in samples.belonging(row.name, carried):
                answers = {path: body}
                if row.name in EXPANDED:
                    answers[HOLDER] = {"id": "plink_1", "object": "payment_link", "x": body}
                assert all(shelf.put(kept, answer) for kept, answer in answers.items()), event
                shelf.apply(samples.event_of(event, samples.sample(carried)))
                gone.append(not any(shelf.has(kept) for kept in answers))
                shelf.clock.advance(LONG)
        assert any(gone), event


@pytest.mark.parametrize("row", [row for row in ROWS if row.lists_only], ids=lambda row: row.name)
def test_an_event_under_lists_only_voids_a_list_and_no_object(row: Row) -> None:
    shelf = Shelf()
    for event in row.lists_only:
        lists: list[str] = []
        for carried in samples.carried_by(event):
            singles = dict(samples.belonging(row.name, carried))
            for path, body in (singles | lists_of(row)).items():
                assert shelf.put(path, body), path
            shelf.apply(samples.event_of(event, samples.sample(carried)))
            assert all(shelf.has(path) for path in singles), event
            lists += [path for path in lists_of(row) if not shelf.has(path)]
            shelf.clock.advance(LONG)
        assert lists or not lists_of(row), event


@pytest.mark.parametrize("events", [True, False])
def test_no_answer_outlives_the_bound_of_any_type_in_it_alone_listed_or_expanded(*, events: bool) -> None:
    shelf, ends = Shelf(events=events), []
    for row in ROWS:
        bound = row.with_events if events else row.no_events
        body = {"id": f"own_{row.name}", "object": row.name}
        answers = dict(samples.belonging(row.name, "topup")) | lists_of(row)
        answers[f"/v1/payment_links/plink_{row.name}?expand[0]=x"] = {"object": "payment_link", "id": "p", "x": body}
        for path, answer in answers.items():
            if not shelf.has(path):
                assert shelf.put(path, answer), path
                ends.append((bound, path))
    assert len(ends) > 200
    passed = 0.0
    for bound in sorted({bound for bound, _ in ends}):
        shelf.clock.advance(bound - passed)
        passed = bound
        assert [path for end, path in ends if end == bound and shelf.has(path)] == [], bound
