"""A mistake in a table that people edit is named before anything is made of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from catalog import tables  # noqa: E402 (a program's own modules)

DATA = ROOT / "runtime" / "stripe_cache" / "core" / "data"
POLICY, EFFECTS = (DATA / "policy.json").read_text(), (DATA / "effects.json").read_text()


def test_the_tables_as_they_are_have_no_problem() -> None:
    assert tables.problems(POLICY, EFFECTS) == []


def _spoil(text: str, change: Callable[[Any], object]) -> str:
    document = json.loads(text)
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["types"]["balance"].update(ttl=600), "balance has a bypass and ttl"),
        (lambda d: d["types"]["price"].update(tll=600), "price: 'tll' is no field: did you mean ttl?"),
        (lambda d: d["types"]["price"].pop("ttl"), "price.ttl is missing"),
        (lambda d: d["types"]["price"].update(ttl="10m"), "price.ttl is '10m': give seconds"),
        (lambda d: d["types"]["price"].update(group="volatile"), ".group is 'volatile', which holds"),
        (lambda d: d["types"].update({"prce": d["types"]["price"]}), "'prce' is no object type: did you mean price?"),
        (lambda d: d["types"]["balance"].update(bypass="x"), "balance.bypass is 'x'"),
        (lambda d: d["lists"].pop("ttl"), "lists.ttl is missing"),
    ],
)
def test_a_mistake_in_the_policy_is_named(change: Callable[[Any], object], said: str) -> None:
    assert any(said in problem for problem in tables.problems(_spoil(POLICY, change), EFFECTS))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"event": "quote.*", "ids": ["prodct"]},
            "quote.*: 'prodct' is no field of Stripe's objects: did you",
        ),
        ({"event": "quote.*", "lists": {"quote": {"customer": "custmer"}}}, "'custmer' is no field"),
        ({"event": "quote.*", "keys": {"lookup-key": "lookup_kye"}}, "'lookup_kye' is no field"),
        ({"event": "quote.*", "lists": {"qoute": {}}}, "'qoute' is no object type"),
        ({"event": "quote.*", "types": ["quote"]}, "no answer notes that it holds 'quote': give it a row"),
    ],
)
def test_a_mistake_in_the_effects_is_named(row: dict[str, Any], said: str) -> None:
    spoiled = _spoil(EFFECTS, lambda document: document["events"].append(row))
    assert any(said in problem for problem in tables.problems(POLICY, spoiled))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"objects": ["price"], "field": "custmer", "as": ""}, "'custmer' is no field"),
        ({"objects": ["prce"], "field": "customer", "as": ""}, "'prce' is no object type: did you mean price?"),
        ({"objects": ["price"], "field": "customer", "as": "gone"}, "'gone' is no kind that any row voids"),
    ],
)
def test_a_mistake_in_the_dependencies_is_named(row: dict[str, Any], said: str) -> None:
    spoiled = _spoil(EFFECTS, lambda document: document["depends"].append(row))
    assert any(said in problem for problem in tables.problems(POLICY, spoiled))


def test_what_stands_there_twice_and_what_is_no_json_is_named() -> None:
    twice = POLICY.replace('"types": {', '"types": {"payout": {"group": "x"},', 1)
    assert "'payout' stands there twice" in tables.problems(twice, EFFECTS)[0]
    assert "effects.json: " in tables.problems(POLICY, EFFECTS[:-5])[0]
