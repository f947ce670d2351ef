from __future__ import annotations

import re
from pathlib import Path

import pytest

from stripe_cache.core.policy import Policy, is_never_cached

TEXT = (Path(__file__).parents[2] / "docs" / "coverage.md").read_text()
SECTIONS = {part.splitlines()[0]: part for part in TEXT.split("\n## ")}
ROWS = {
    match[1]: match[0]
    for title, part in SECTIONS.items()
    if re.search(r"\(\d+\)$", title)
    for match in re.finditer(r"^\| `([^`]+)`.*\|$", part, re.MULTILINE)
}


def test_every_type_is_in_it_once_under_kept_or_never_kept() -> None:
    kept = {name for name, rule in Policy.default().types.items() if rule.cacheable}
    assert ROWS.keys() == kept
    never, unless = SECTIONS["Never kept, so never stale"].split("\n\n")[1:3]
    others = Policy.default().types.keys() - kept
    assert {name for name in others if is_never_cached(name)} == set(re.findall("`([^`]+)`", never))
    assert {name for name in others if not is_never_cached(name)} == set(re.findall("`([^`]+)`", unless))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("price", ["price.{created, deleted, updated}", "plan.{created, deleted, updated}", "precise", "1 d"]),
        ("subscription", ["customer.subscription.*", "invoice.{", "customer.deleted", "precise"]),
        ("balance_transaction", ["balance.available"]),
        ("invoiceitem", ["`invoiceitem`*"]),
        ("shipping_rate", ["TTL", "5 min | 5 min"]),
        ("country_spec", ["TTL", "1 d"]),
    ],
)
def test_it_says_what_the_code_does(name: str, expected: list[str]) -> None:
    assert all(part in ROWS[name] for part in expected), ROWS[name]


def test_no_type_without_events_is_kept_longer_because_events_are_wired() -> None:
    types = Policy.default().types
    for title, part in SECTIONS.items():
        if title.startswith(("Writes and TTL", "TTL alone")):
            for name in re.findall(r"^\| `([^`]+)`", part, re.MULTILINE):
                assert types[name].ttl_with_events <= types[name].ttl, name
