"""An object expanded in an answer is served for no longer than the object alone."""

from __future__ import annotations

from typing import Any

import pytest
from shelf import Shelf

from stripe_cache.core import catalog
from stripe_cache.core.bounds import Lifetimes, bounded
from stripe_cache.core.freshness import JITTER
from stripe_cache.core.policy import Policy, is_never_cached

TYPES = Policy.default().types
KEPT = [name for name, rule in TYPES.items() if rule.cacheable]
VOLATILE = [name for name, rule in TYPES.items() if not rule.cacheable and not is_never_cached(name)]
DAY = Lifetimes(86400, 3600, 60, 3600)


def seconds(name: str, *, events: bool) -> float:
    return TYPES[name].ttl_with_events if events else TYPES[name].ttl


def alone(name: str) -> str | None:
    """Give the path at which one object of the type is read."""
    for template in catalog.object_types()[name].templates:
        operation = catalog.match("get", template.replace("{", "").replace("}", ""))
        if operation is not None and operation.kind == "retrieve":
            return "/".join(f"id_{s[1:-1]}" if s.startswith("{") else s for s in template.split("/"))
    return None


def expandable() -> list[tuple[str, str, str]]:
    """List every field of a type that can be read alone, with each type that can be expanded there."""
    return [
        (holder, field, inner)
        for holder in KEPT
        if alone(holder) is not None
        for field, inners in catalog.object_types()[holder].references.items()
        for inner in inners
        if inner in KEPT
    ]


@pytest.mark.parametrize("events", [True, False])
def test_an_expanded_object_is_fresh_for_as_long_as_it_is_alone_and_as_its_holder_is(*, events: bool) -> None:
    pairs = expandable()
    assert len(pairs) > 100
    shelf = Shelf(events=events)
    kept: list[tuple[float, str]] = []
    for number, (holder, field, inner) in enumerate(pairs):
        path = f"{alone(holder)}_{number}?expand[0]={field}"
        own = f"{path.partition('?')[0].rpartition('/')[2]}"
        body = {"object": holder, "id": own, field: {"object": inner, "id": f"in_{number}"}}
        assert shelf.put(path, body), (holder, field, inner)
        kept.append((min(seconds(holder, events=events), seconds(inner, events=events)), path))
    check(shelf, kept)


@pytest.mark.parametrize("events", [True, False])
def test_whatever_is_inside_the_longest_lived_answer_ends_it(*, events: bool) -> None:
    shelf = Shelf(events=events)
    kept = []
    for name in KEPT:
        path = f"/v1/tax_codes/txcd_{name}?expand[0]=x"
        body = {"object": "tax_code", "id": f"txcd_{name}", "a": [{"b": {"object": name, "id": f"x_{name}"}}]}
        assert shelf.put(path, body), name
        kept.append((seconds(name, events=events), path))
        listed = f"/v1/tax_codes?limit={len(kept)}"
        assert shelf.put(listed, {"object": "list", "url": "/v1/tax_codes", "data": [body]})
        kept.append((min(seconds(name, events=events), Policy.default().lists.ttl_with_events), listed))
        if not events:
            kept[-1] = (min(seconds(name, events=False), Policy.default().lists.ttl), listed)
    check(shelf, kept)


def check(shelf: Shelf, kept: list[tuple[float, str]]) -> None:
    """Let time pass, and see each answer shortly before its end and at it."""
    began = shelf.clock.wall
    for bound in sorted({bound for bound, _ in kept}):
        paths = [path for end, path in kept if end == bound]
        shelf.clock.advance(began + bound * (1 - JITTER) - 0.5 - shelf.clock.wall)
        assert [path for path in paths if not shelf.has(path)] == [], f"gone before {bound} s"
        shelf.clock.advance(began + bound - shelf.clock.wall)
        assert [path for path in paths if shelf.has(path)] == [], f"served after {bound} s"


@pytest.mark.parametrize("name", VOLATILE)
def test_what_is_not_cached_alone_is_not_cached_inside_another_object(name: str) -> None:
    body = {"object": "customer", "id": "cus_1", "x": {"object": name, "id": "x_1"}}
    assert not Shelf().put("/v1/customers/cus_1?expand[0]=x", body)


def test_an_override_counts_for_what_is_expanded_too() -> None:
    body = {"object": "subscription", "id": "sub_1", "customer": {"object": "customer", "id": "cus_1"}}
    path = "/v1/subscriptions/sub_1?expand[0]=customer"
    assert not Shelf(policy={"customer": {"cacheable": False}}).put(path, body)
    shelf = Shelf(policy={"customer": {"ttl": 10}})
    assert shelf.put(path, body)
    check(shelf, [(10, path)])
    body["customer"] = {"object": "test_helpers.test_clock", "id": "clock_1"}
    assert Shelf(policy={"test_helpers.test_clock": {"cacheable": True, "ttl": 10}}).put(path, body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (86400, 3600)),
        ({"object": "discount"}, (86400, 3600)),
        ({"object": ["coupon"]}, (86400, 3600)),
        ([[{"object": "coupon"}]], (300, 60)),
        ({"object": "coupon", "a": {"object": "price"}}, (300, 20)),
        ({"object": "coupon", "a": {"object": "event"}}, None),
    ],
)
def test_the_smallest_of_each_counts_and_what_has_no_row_does_not(
    body: Any, expected: tuple[float, float] | None
) -> None:
    bounds = {"coupon": Lifetimes(300, 60, 15, 300), "price": Lifetimes(86400, 20, 60, 3600), "event": None}
    assert bounded(DAY, body, bounds) == expected


def test_a_body_nested_as_deep_as_json_goes_is_walked() -> None:
    body: Any = {"object": "coupon"}
    for _ in range(100_000):
        body = [body]
    assert bounded(DAY, body, {"coupon": Lifetimes(300, 60, 15, 300)}) == (300, 60)
