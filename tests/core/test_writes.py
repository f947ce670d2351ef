from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_cache.core import catalog, records
from stripe_cache.core.policy import never_cached
from stripe_cache.core.records import gate
from stripe_cache.core.writes import is_read_only, touched_after, touched_before

Pairs = list[tuple[str, str]]


def before(method: str, path: str, pairs: Pairs | None = None) -> set[str]:
    return set(touched_before(catalog.match(method, path), path, pairs or []))


def after(method: str, path: str, pairs: Pairs | None = None, body: dict[str, Any] | None = None) -> set[str]:
    return set(touched_after(catalog.match(method, path), path, pairs or [], body))


def test_creating_an_object_voids_its_collections_before_and_its_id_after() -> None:
    assert before("post", "/v1/customers") == {"/v1/customers"}
    assert {"/v1/customers", "cus_1"} <= after("post", "/v1/customers", [], {"id": "cus_1", "object": "customer"})


def test_a_person_or_an_account_changes_in_both_versions_of_the_api() -> None:
    for version in ("/v1/accounts", "/v2/core/accounts"):
        person = {"id": "person_1", "object": "person", "account": "acct_1"}
        named = after("post", f"{version}/acct_1/persons", [], person)
        assert {"acct_1", "person_1", "/v1/accounts/acct_1/persons", "/v2/core/accounts/acct_1/persons"} <= named
        named = after("post", version, [], {"id": "acct_1", "object": "account"})
        assert {"acct_1", "/v1/accounts", "/v2/core/accounts"} <= named


def test_an_account_that_is_no_more_takes_with_it_what_was_read_for_it() -> None:
    assert gate("acct_1") in before("delete", "/v1/accounts/acct_1")
    assert gate("acct_1") in after("post", "/v2/core/accounts/acct_1/close", [], {"id": "acct_1"})
    assert gate("acct_1") not in after("post", "/v1/accounts/acct_1", [], {"id": "acct_1"})


def test_creating_for_a_customer_voids_that_customers_partition_alone() -> None:
    named = before("post", "/v1/subscriptions", [("customer", "cus_1"), ("items[0][price]", "price_1")])
    assert {"/v1/subscriptions", "/v1/subscriptions?customer=cus_1", "cus_1"} <= named
    assert not {name for name in named if name.endswith("?*") or "cus_1" not in name} - {
        *("/v1/subscriptions", "/v1/invoices", "/v1/invoiceitems", "/v1/charges"),
        "/v1/billing/credit_balance_summary",
    }
    assert "/v1/subscriptions?*" in before("post", "/v1/subscriptions")


def test_updating_an_object_voids_it_and_every_partition_it_could_leave() -> None:
    named = before("post", "/v1/subscriptions/sub_1", [("customer", "cus_2")])
    assert {"sub_1", "/v1/subscriptions", "/v1/subscriptions?*", "cus_2"} <= named


def test_a_write_below_a_parent_voids_the_parent_and_exactly_its_collection() -> None:
    named = before("post", "/v1/customers/cus_1/tax_ids")
    assert {"cus_1", "/v1/customers", "/v1/customers/cus_1/tax_ids", "/v1/tax_ids"} <= named
    assert "/v1/customers/{customer}/tax_ids?*" not in named
    deleted = before("delete", "/v1/customers/cus_1/tax_ids/txi_1")
    assert {"cus_1", "txi_1", "/v1/customers/cus_1/tax_ids"} <= deleted


def test_an_action_voids_the_object_on_its_path() -> None:
    assert {"in_1", "/v1/invoices", "/v1/invoices?*", "/v1/invoices/in_1/lines"} <= before(
        "post", "/v1/invoices/in_1/pay"
    )


def test_attaching_a_payment_method_voids_both_sides() -> None:
    named = after(
        "post",
        "/v1/payment_methods/pm_1/attach",
        [("customer", "cus_1")],
        {"id": "pm_1", "object": "payment_method", "customer": "cus_1"},
    )
    assert {"pm_1", "cus_1", "/v1/customers/cus_1/payment_methods", "/v1/payment_methods?customer=cus_1"} <= named


def test_deleting_a_customer_voids_what_goes_with_it() -> None:
    body = {"id": "cus_1", "object": "customer", "deleted": True}
    named = after("delete", "/v1/customers/cus_1", [], body)
    assert {
        "cus_1",
        "/v1/customers",
        "/v1/customers/cus_1/payment_methods",
        "/v1/subscriptions?customer=cus_1",
        "/v1/payment_methods?customer=cus_1",
    } <= named


def test_moving_a_lookup_key_voids_every_list_of_prices() -> None:
    plain = after("post", "/v1/prices/price_1", [], {"id": "price_1", "object": "price", "product": "prod_1"})
    assert {"price_1", "prod_1", "/v1/plans?product=prod_1"} <= plain
    moved = after("post", "/v1/prices", [("product", "prod_1"), ("transfer_lookup_key", "true")])
    assert {"/v1/prices", "/v1/prices?*"} <= moved
    assert "/v1/prices?*" not in after("post", "/v1/prices", [("product", "prod_1")])


def test_releasing_a_schedule_voids_its_subscription() -> None:
    body = {"id": "sub_sched_1", "object": "subscription_schedule", "released_subscription": "sub_1"}
    assert {"sub_sched_1", "sub_1"} <= after("post", "/v1/subscription_schedules/sub_sched_1/release", [], body)


def test_ids_named_by_the_request_are_voided_where_the_write_changes_them() -> None:
    named = before("post", "/v1/subscriptions", [("customer", "cus_1"), ("discounts[0][coupon]", "SUMMER")])
    assert "SUMMER" in named
    assert "price_1" not in before("post", "/v1/subscriptions", [("items[0][price]", "price_1")])


def test_a_singleton_is_voided_by_its_path() -> None:
    assert "/v1/tax/settings" in before("post", "/v1/tax/settings")
    assert "/v1/customers/cus_1/cash_balance" in before("post", "/v1/customers/cus_1/cash_balance")


def test_an_unknown_path_voids_the_ids_and_collections_in_it() -> None:
    assert before("post", "/v1/future_things/cus_1Abc/do") == {"cus_1Abc"}
    assert before("post", "/v1/subscriptions/sub_1Abc/do") == {
        "sub_1Abc",
        "/v1/subscriptions",
        "/v1/subscriptions?*",
    }
    assert before("post", "/v1/payment_methods/later") >= {"/v1/payment_methods"}
    assert "payment_methods" not in before("post", "/v1/payment_methods/later")
    assert "holo_1" in after("post", "/v1/future_things", [], {"id": "holo_1", "object": "hologram"})


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("get", "/v1/customers", True),
        ("get", "/v1/credit_notes/preview", True),
        ("post", "/v1/invoices/create_preview", True),
        ("post", "/v2/core/future/search", True),
        ("post", "/v1/invoices/in_1/pay", False),
        ("post", "/v1/tax/calculations", False),
        ("post", "/v1/customers", False),
        ("delete", "/v1/customers/cus_1", False),
        ("post", "/v1/future/search", False),
    ],
)
def test_posts_that_only_answer_are_told_from_writes(method: str, path: str, *, expected: bool) -> None:
    operation = catalog.match(method, path)
    assert is_read_only(operation, path) is expected
    if expected:
        assert touched_before(operation, path, [("customer", "cus_1")]) == ()
        assert touched_after(operation, path, [], {"id": "in_1", "object": "invoice"}) == ()


@pytest.mark.parametrize(
    "operation", [o for o in catalog.operations() if o.method != "get"], ids=lambda o: f"{o.method} {o.path}"
)
def test_every_write_voids_the_object_on_its_path_and_every_list_its_result_can_be_in(
    operation: catalog.Operation,
) -> None:
    path = "/".join(f"id_{i}A" if s.startswith("{") else s for i, s in enumerate(operation.path.split("/")))
    body = {"id": "obj_1", "object": operation.objects[0] if operation.objects else "nothing"}
    early, late = before(operation.method, path), after(operation.method, path, [], body)
    if is_read_only(operation, path):
        assert not early | late
        return
    assert early <= late, "the second void must cover what the first one barred"
    assert set(records.path_values(operation, path)) <= early
    never = never_cached() & set(operation.objects)
    assert ("obj_1" in late) is (operation.objects[:1] == () or operation.objects[0] not in never)
    for name in operation.objects:
        for kept in catalog.collections_of(name):
            if never_cached().issuperset(kept.objects):
                continue
            for below in [records.broad(kept)] if kept.fields else [kept.path]:
                own = path.startswith(kept.path.partition("{")[0]) and kept.fields
                assert below in early or own, (path, below)


PAIRS = st.lists(st.tuples(st.sampled_from(["customer", "a[b]", "[", "coupon", ""]) | st.text(), st.text()), max_size=4)
BODIES = st.none() | st.dictionaries(
    st.sampled_from(["id", "object", "customer", "deleted", "items", "subscription"]),
    st.none() | st.text() | st.integers() | st.lists(st.none()) | st.sampled_from(sorted(catalog.object_types())),
)
WRITES = [o for o in catalog.operations() if o.method != "get"]


@given(st.sampled_from(WRITES), st.text(alphabet="aZ09_%2E+b", min_size=1, max_size=8), PAIRS, BODIES)
def test_no_write_raises_whatever_it_carries(
    template: catalog.Operation, segment: str, pairs: Pairs, body: dict[str, Any] | None
) -> None:
    path = "/".join(segment if s.startswith("{") else s for s in template.path.split("/"))
    operation = catalog.match(template.method, path)
    early = set(touched_before(operation, path, pairs))
    late = set(touched_after(operation, path, pairs, body))
    assert early <= late
    assert all(records.is_record(r) or r.endswith("?*") for r in late)


@given(st.text(), PAIRS, BODIES)
def test_no_unknown_path_raises(path: str, pairs: Pairs, body: dict[str, Any] | None) -> None:
    for candidate in (path, f"/v1/{path}"):
        late = touched_after(None, candidate, pairs, body)
        assert set(touched_before(None, candidate, pairs)) <= set(late)
        assert all(records.is_record(r) or r.endswith("?*") for r in late)
