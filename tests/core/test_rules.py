"""What an entry notes of what voids it changes with the version; entries made by other rules are not read."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shelf import Shelf

from stripe_cache.core import catalog

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from catalog import render

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = catalog.read("effects.json")
PATH, BODY = "/v1/customers/cus_1", {"id": "cus_1", "object": "customer"}


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table["depends"][0]["objects"].pop(),
        lambda table: table["depends"][0].update({"field": "source"}),
        lambda table: table["depends"][0].update({"as": ""}),
        lambda table: table["at_large"].pop("coupon"),
        lambda table: table["at_large"]["coupon"].update(inside=False),
    ],
)
def test_other_rules_have_another_name(change: Callable[[Any], object]) -> None:
    changed = copy.deepcopy(TABLE)
    change(changed)
    assert render.rules_of(changed) != render.rules_of(TABLE) == catalog.rules()


def test_reasons_and_rows_that_only_void_more_leave_the_name_and_every_entry_as_they_are() -> None:
    changed = copy.deepcopy(TABLE)
    changed["depends"][0]["why"] = changed["at_large"]["coupon"]["why"] = "because"
    changed["writes"].pop()
    changed["depends"].reverse()
    assert render.rules_of(changed) == catalog.rules()


def test_an_entry_made_by_other_rules_is_not_read_and_a_void_of_its_record_is_seen_by_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf = Shelf()
    assert shelf.put(PATH, BODY)
    with monkeypatch.context() as other:
        other.setattr(catalog, "rules", lambda: "other")
        shelf.engine.planner.plan.cache_clear()
        assert not shelf.has(PATH)
        assert shelf.put(PATH, BODY)
        shelf.hear("customer.updated", BODY)
        assert not shelf.has(PATH)
    shelf.engine.planner.plan.cache_clear()
    assert not shelf.has(PATH)
