from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_cache.core import catalog
from stripe_cache.core.errors import PolicyError
from stripe_cache.core.policy import HOT_SET_TTL, LONGEST_TTL, Policy, Rule, forbidden_fields

DEFAULT = Policy.default()
ROOT = Path(__file__).resolve().parent.parent.parent
READABLE = {
    name
    for operation in catalog.operations()
    if operation.method == "get" and operation.kind != "action"
    for name in operation.objects
}


def ruled(policy: Policy, path: str, method: str = "get") -> Rule | None:
    operation = catalog.match(method, path)
    assert operation is not None
    return policy.rule(operation)


def test_every_readable_object_type_has_a_row_and_nothing_else_has() -> None:
    assert set(DEFAULT.types) == READABLE


def test_every_row_has_a_reason_and_times_that_make_sense() -> None:
    for rule in [*DEFAULT.types.values(), DEFAULT.lists]:
        assert len(rule.reason) > 10, rule
        if rule.cacheable:
            assert not rule.secret
            assert 0 <= rule.memory_ttl <= rule.ttl <= rule.ttl_with_events <= LONGEST_TTL, rule
            assert rule.redis_ttl == min(rule.ttl_with_events, HOT_SET_TTL), rule
            assert 0 <= rule.stale_window <= LONGEST_TTL
        else:
            assert rule.ttl == rule.ttl_with_events == rule.memory_ttl == rule.redis_ttl == 0, rule


def test_only_types_that_some_event_carries_are_kept_longer_with_events() -> None:
    carried = {name for event in catalog.event_types().values() for name in event.objects}
    # Voided by the events of what they belong to: through the table of side effects, or below it.
    carried |= {"entitlements.active_entitlement", "subscription_item", "line_item", "credit_note_line_item"}
    for rule in DEFAULT.types.values():
        assert rule.ttl_with_events == rule.ttl or rule.object_type in carried, rule


def test_types_with_secret_fields_are_never_cached_unless_the_field_is_caught_in_the_body() -> None:
    caught = set(forbidden_fields())
    for known in catalog.object_types().values():
        rule = DEFAULT.types.get(known.name)
        if rule is not None and rule.cacheable:
            assert {path.rpartition(".")[2] for path in known.secrets} <= caught, known.name


@pytest.mark.parametrize("name", ["payment_intent", "setup_intent", "checkout.session", "issuing.card", "apps.secret"])
def test_types_that_hold_secrets_are_bypassed_and_no_override_changes_that(name: str) -> None:
    assert DEFAULT.types[name].secret
    with pytest.raises(PolicyError, match=f"{name}.cacheable cannot be true: .*secrets are never stored"):
        DEFAULT.with_overrides({name: {"cacheable": True, "ttl": 10}})
    assert not DEFAULT.with_overrides({name: {"cacheable": False}}).types[name].cacheable


def test_a_customer_is_kept_a_day_with_events_and_minutes_without() -> None:
    rule = ruled(DEFAULT, "/v1/customers/cus_1")
    assert rule is not None
    assert (rule.memory_ttl, rule.ttl, rule.ttl_with_events, rule.redis_ttl) == (30.0, 300.0, 86400.0, 3600.0)


def test_a_list_is_kept_no_longer_than_lists_are_nor_than_its_members() -> None:
    customers, attempts = ruled(DEFAULT, "/v1/customers"), ruled(DEFAULT, "/v1/entitlements/active_entitlements")
    assert customers is not None
    assert (customers.memory_ttl, customers.ttl, customers.ttl_with_events) == (5.0, 30.0, 300.0)
    assert attempts is not None
    assert (attempts.ttl, attempts.ttl_with_events, attempts.stale_window) == (15.0, 300.0, 60.0)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/v1/customers/search"),
        ("get", "/v1/quotes/qt_1/pdf"),
        ("get", "/v1/credit_notes/preview"),
        ("get", "/v1/credit_notes/preview/lines"),
        ("get", "/v1/payment_intents/pi_1"),
        ("get", "/v1/payment_intents"),
        ("get", "/v1/customers/cus_1/sources"),
        ("get", "/v1/customers/cus_1/sources/card_1"),
        ("get", "/v1/balance"),
        ("get", "/v1/events"),
        ("get", "/v1/terminal/configurations/tmc_1"),
        ("post", "/v1/customers/cus_1"),
        ("delete", "/v1/customers/cus_1"),
        ("post", "/v1/files"),
    ],
)
def test_what_must_be_fresh_or_secret_is_bypassed(method: str, path: str) -> None:
    assert ruled(DEFAULT, path, method) is None


def test_an_answer_of_several_types_gets_the_shortest_times() -> None:
    policy = DEFAULT.with_overrides({"card": {"ttl": 7, "memory_ttl": 2}})
    rule = ruled(policy, "/v1/accounts/acct_1/external_accounts/ba_1")
    assert rule is not None
    assert (rule.object_type, rule.ttl, rule.memory_ttl) == ("bank_account+card", 7.0, 2.0)
    off = DEFAULT.with_overrides({"card": {"cacheable": False}})
    assert ruled(off, "/v1/accounts/acct_1/external_accounts/ba_1") is None


def test_another_host_than_the_api_is_bypassed() -> None:
    operation = catalog.match("get", "/v1/customers/cus_1")
    assert operation is not None
    assert DEFAULT.rule(dataclasses.replace(operation, base="files")) is None


def test_an_unlisted_type_is_bypassed() -> None:
    policy = Policy({n: r for n, r in DEFAULT.types.items() if n != "customer"}, DEFAULT.lists)
    assert ruled(policy, "/v1/customers/cus_1") is None


def test_overrides_change_only_what_they_name_and_leave_the_original_alone() -> None:
    policy = DEFAULT.with_overrides({"customer": {"ttl": 3600, "stale_window": 60}, "price": {"cacheable": False}})
    assert ruled(policy, "/v1/prices/price_1") is None
    assert ruled(policy, "/v1/prices") is None
    rule = policy.types["customer"]
    assert (rule.ttl, rule.ttl_with_events, rule.stale_window, rule.memory_ttl) == (3600.0, 3600.0, 60.0, 30.0)
    assert DEFAULT.types["customer"].ttl == 300.0
    assert policy.types["product"] is DEFAULT.types["product"]


def test_a_shorter_ttl_takes_the_memory_tier_along() -> None:
    rule = DEFAULT.with_overrides({"customer": {"ttl": 10}}).types["customer"]
    assert (rule.memory_ttl, rule.redis_ttl, rule.ttl_with_events) == (10.0, 10.0, 10.0)


def test_lists_can_be_changed_and_turned_off() -> None:
    rule = ruled(DEFAULT.with_overrides({"lists": {"ttl": 3}}), "/v1/customers")
    assert rule is not None
    assert (rule.ttl, rule.ttl_with_events) == (3.0, 3.0)
    off = DEFAULT.with_overrides({"lists": {"cacheable": False}})
    assert ruled(off, "/v1/customers") is None
    assert ruled(off, "/v1/customers/cus_1") is not None


def test_a_volatile_type_can_be_made_cacheable_with_a_ttl() -> None:
    rule = DEFAULT.with_overrides({"balance": {"cacheable": True, "ttl": 15}}).types["balance"]
    assert (rule.cacheable, rule.ttl, rule.redis_ttl, rule.memory_ttl) == (True, 15.0, 15.0, 0.0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"custmer": {"ttl": 1}}, "'custmer' is no object type of the policy: did you mean 'customer'"),
        ({"Customers": {}}, "did you mean 'customer'"),
        ({"zzz": {}}, "'zzz' is no object type"),
        ({1: {}}, "1 is no object type"),
        ({"customer": {"tll": 1}}, "customer.tll is no field of the policy: did you mean 'ttl'"),
        ({"customer": 5}, "customer is a int: give an object"),
        ({"customer": {"ttl": -1}}, "customer.ttl is -1: give 0 to 2592000 seconds"),
        ({"customer": {"ttl": "60"}}, "customer.ttl is '60': give a number of seconds"),
        ({"customer": {"ttl": True}}, "customer.ttl is True: give a number of seconds"),
        ({"customer": {"ttl": None}}, "customer.ttl is None"),
        ({"customer": {"ttl": float("nan")}}, "customer.ttl is nan"),
        ({"customer": {"stale_window": float("inf")}}, "customer.stale_window is inf"),
        ({"customer": {"ttl": 30 * 86400 + 1}}, "customer.ttl is 2592001: .*30 days"),
        ({"customer": {"ttl": 10**5000}}, "customer.ttl is a huge number"),
        ({"customer": {"ttl": 0}}, "customer.ttl is 0: .*cacheable to false"),
        ({"customer": {"ttl": 10, "memory_ttl": 11}}, "customer.memory_ttl is 11, longer than the type's TTL 10"),
        ({"customer": {"ttl": 10, "redis_ttl": 11}}, "customer.redis_ttl is 11, longer"),
        ({"customer": {"ttl_with_events": 10, "memory_ttl": 11}}, "customer.memory_ttl is 11, longer"),
        ({"customer": {"cacheable": 1}}, "customer.cacheable is 1: give true or false"),
        ({"balance": {"cacheable": True}}, "balance.ttl is 0"),
        ({"balance": {"cacheable": True, "ttl_with_events": 9}}, "balance.ttl is missing"),
        ({"lists": {"x": 1}}, "lists.x is no field"),
        ([], "the policy overrides are a list"),
    ],
)
def test_an_impossible_override_is_refused_with_its_key(overrides: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        DEFAULT.with_overrides(overrides)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.dictionaries(st.sampled_from(["cacheable", "ttl", "memory_ttl", "redis_ttl", "stale_window", "x"]), JSON)


@given(st.dictionaries(st.sampled_from(["customer", "balance", "payment_intent", "lists", "x"]), FIELDS | JSON))
def test_overrides_raise_nothing_but_policy_error_and_never_make_nonsense(overrides: dict[str, Any]) -> None:
    try:
        policy = DEFAULT.with_overrides(overrides)
    except PolicyError:
        return
    for rule in [*policy.types.values(), policy.lists]:
        if rule.cacheable:
            assert not rule.secret
            longest = max(rule.ttl, rule.ttl_with_events)
            assert 0 < rule.ttl <= LONGEST_TTL
            assert 0 <= rule.memory_ttl <= min(rule.ttl, rule.ttl_with_events)
            assert 0 <= rule.redis_ttl <= longest


def test_the_document_lists_every_row() -> None:
    document = (ROOT / "docs" / "policy.md").read_text()
    for rule in DEFAULT.types.values():
        assert f"| `{rule.object_type}` |" in document
        assert rule.reason in document
    rows = json.loads((ROOT / "runtime/stripe_cache/core/data/policy.json").read_text())["types"]
    assert {row["group"] for row in rows.values()} == {
        heading.lower() for heading in document.split("\n## ")[1:] for heading in [heading.partition("\n")[0]]
    } - {"fields that are never stored"}
