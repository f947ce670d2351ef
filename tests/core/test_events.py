from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stripe_cache.core import catalog, records
from stripe_cache.core.effects import effects
from stripe_cache.core.errors import NotAnEventError
from stripe_cache.core.events import Affected, affected
from stripe_cache.core.policy import never_cached
from stripe_cache.core.records import gate


def snapshot(event_type: str, body: dict[str, Any], previous: dict[str, Any] | None = None, **more: Any) -> Affected:
    data: dict[str, Any] = {"object": body}
    if previous is not None:
        data["previous_attributes"] = previous
    return affected({"id": "evt_1", "object": "event", "type": event_type, "data": data, **more})


CHANGED: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "customer.updated",
    "data": {"object": {"id": "cus_1", "object": "customer"}},
}


def thin(event_type: str, related: dict[str, Any] | None, **more: Any) -> Affected:
    return affected({"id": "evt_1", "object": "v2.core.event", "type": event_type, "related_object": related, **more})


def test_a_snapshot_event_names_its_object_its_partition_and_its_collection() -> None:
    found = snapshot(
        "customer.subscription.updated",
        {"id": "sub_1", "object": "subscription", "customer": "cus_1", "items": {"data": [{"id": "si_1"}]}},
        created=1793145600,
        livemode=True,
        account="acct_1",
    )
    assert found == Affected(
        "evt_1",
        "customer.subscription.updated",
        "acct_1",
        livemode=True,
        created=1793145600.0,
        records=(
            "/v1/subscription_items",
            "/v1/subscription_items?subscription=sub_1",
            "/v1/subscriptions",
            "/v1/subscriptions?customer=cus_1",
            "si_1",
            "sub_1",
        ),
    )


def test_an_object_that_moved_leaves_the_old_partition_too() -> None:
    found = snapshot("price.updated", {"id": "price_1", "object": "price", "product": "prod_2"}, {"product": "prod_1"})
    assert {"/v1/prices?product=prod_1", "/v1/prices?product=prod_2", "prod_1", "prod_2"} <= set(found.records)


def test_a_null_field_names_no_partition_and_an_absent_one_the_broad_record() -> None:
    null = snapshot("charge.updated", {"id": "ch_1", "object": "charge", "customer": None, "payment_intent": None})
    assert not [r for r in null.records if r.startswith("/v1/charges?")]
    absent = snapshot("charge.updated", {"id": "ch_1", "object": "charge"})
    assert "/v1/charges?*" in absent.records


def test_a_detached_payment_method_leaves_lists_that_its_event_does_not_name() -> None:
    found = snapshot("payment_method.detached", {"id": "pm_1", "object": "payment_method", "customer": None})
    assert {"pm_1", "/v1/payment_methods?*", "/v1/customers/{customer}/payment_methods?*"} <= set(found.records)


def test_an_expanded_or_deleted_parent_is_still_named() -> None:
    found = snapshot("customer.tax_id.deleted", {"id": "txi_1", "object": "tax_id", "customer": {"id": "cus_1"}})
    assert {"txi_1", "/v1/tax_ids", "/v1/customers/cus_1/tax_ids"} <= set(found.records)


def test_an_object_without_id_is_named_by_its_path() -> None:
    assert "/v1/balance" in snapshot("balance.available", {"object": "balance"}).records
    found = snapshot("cash_balance.funds_available", {"object": "cash_balance", "customer": "cus_1"})
    assert found.records == ("/v1/customers/cus_1/cash_balance",)


def test_deleting_a_customer_names_what_goes_with_it() -> None:
    found = set(snapshot("customer.deleted", {"id": "cus_1", "object": "customer"}).records)
    assert {
        "cus_1",
        "/v1/customers",
        "/v1/customers/cus_1/payment_methods",
        "/v1/customers/cus_1/tax_ids",
        "/v1/subscriptions?customer=cus_1",
        "/v1/payment_methods?customer=cus_1",
    } <= found
    assert "/v1/subscriptions?*" not in found


@pytest.mark.parametrize(
    ("event_type", "body", "named"),
    [
        ("customer.source.created", {"id": "card_1", "object": "card", "customer": "cus_1"}, {"card_1", "cus_1"}),
        ("customer.discount.created", {"id": "di_1", "object": "discount", "customer": "cus_1"}, {"cus_1"}),
        ("price.updated", {"id": "price_1", "object": "price", "product": "prod_1"}, {"prod_1", "/v1/plans"}),
        (
            "subscription_schedule.released",
            {"id": "sub_sched_1", "object": "subscription_schedule", "released_subscription": "sub_1"},
            {"sub_1", "sub_sched_1", "/v1/subscription_schedules?*"},
        ),
        (
            "invoice.paid",
            {"id": "in_1", "object": "invoice", "parent": {"subscription_details": {"subscription": "sub_1"}}},
            {"in_1", "sub_1", "/v1/invoices/in_1/lines"},
        ),
        ("person.updated", {"id": "person_1", "object": "person", "account": "acct_1"}, {"acct_1", "/v1/account"}),
        (
            "entitlements.active_entitlement_summary.updated",
            {"object": "entitlements.active_entitlement_summary", "customer": "cus_1"},
            {"/v1/entitlements/active_entitlements"},
        ),
        (
            "refund.created",
            {
                "id": "re_1",
                "object": "refund",
                "charge": "ch_1",
                "payment_intent": None,
                "balance_transaction": "txn_1",
            },
            {"ch_1", "txn_1", "/v1/refunds?charge=ch_1", "/v1/balance_transactions?source=re_1"},
        ),
    ],
)
def test_side_effects_are_named(event_type: str, body: dict[str, Any], named: set[str]) -> None:
    assert named <= set(snapshot(event_type, body).records)


def test_a_thin_event_names_its_object_and_what_its_path_says() -> None:
    found = thin(
        "v1.customer.tax_id.updated",
        {"id": "txi_1", "type": "tax_id", "url": "/v1/customers/cus_1/tax_ids/txi_1"},
        created="2026-10-28T00:00:00.500Z",
        context="org_1/acct_2",
        livemode=False,
    )
    assert found.records == ("/v1/customers/cus_1/tax_ids", "/v1/tax_ids", "txi_1")
    assert (found.account, found.livemode, found.created) == ("acct_2", False, 1793145600.5)


def test_a_person_is_told_to_both_versions_of_the_api_and_to_its_account() -> None:
    url = "/v2/core/accounts/acct_1/persons/person_1"
    found = thin("v2.core.account_person.updated", {"id": "person_1", "type": "v2.core.account_person", "url": url})
    everywhere = {"person_1", "acct_1", "/v1/accounts/acct_1/persons", "/v2/core/accounts/acct_1/persons"}
    assert everywhere <= set(found.records)
    body = {"id": "person_1", "object": "person", "account": "acct_1"}
    assert everywhere <= set(snapshot("person.updated", body).records)


def test_who_deauthorizes_the_platform_closes_the_gate_to_all_that_was_read_for_it() -> None:
    gone = {"id": "ca_1", "object": "application"}
    for found in (
        snapshot("account.application.deauthorized", gone, account="acct_1"),
        thin("v1.account.application.deauthorized", None, context="acct_1"),
    ):
        # The account's own record, too, which the platform's copies of its persons and external accounts embed.
        assert {gate("acct_1"), "acct_1"} <= set(found.records)
    assert gate("acct_1") not in snapshot("account.application.authorized", gone, account="acct_1").records


def test_a_thin_event_names_the_broad_record_of_partitions_that_it_cannot_know() -> None:
    found = thin(
        "v1.customer.subscription.updated",
        {"id": "sub_1", "type": "subscription", "url": "/v1/subscriptions/sub_1"},
    )
    assert {"sub_1", "/v1/subscriptions", "/v1/subscriptions?*", "/v1/subscription_items?subscription=sub_1"} <= set(
        found.records
    )


def test_a_thin_event_about_no_object_names_the_collections_of_its_type_and_the_account() -> None:
    found = thin("v1.account.external_account.updated", None, context="acct_1")
    assert {"acct_1", "/v1/accounts/{account}/external_accounts?*"} <= set(found.records)
    assert thin("v1.billing.meter.no_meter_found", None).records == ()


def test_a_thin_event_with_an_unknown_path_still_names_its_object() -> None:
    found = thin("v9.future.thing", {"id": "fut_1", "type": "future", "url": "https://evil.example/../x"})
    assert found.records == ("fut_1",)


def test_an_eventbridge_envelope_is_unwrapped_and_its_aws_account_ignored() -> None:
    event = {
        "id": "evt_1",
        "object": "event",
        "type": "customer.updated",
        "data": {"object": {"id": "cus_1", "object": "customer"}},
    }
    envelope = {"id": "aws-1", "account": "123456789012", "detail-type": "customer.updated", "detail": event}
    found = affected(envelope)
    assert found == affected(event)
    assert found.account is None


def test_an_unknown_event_type_still_names_the_object_and_its_lists() -> None:
    found = snapshot("customer.teleported", {"id": "cus_1", "object": "customer"})
    assert {"cus_1", "/v1/customers"} <= set(found.records)


def test_an_unknown_object_type_names_only_the_object() -> None:
    assert snapshot("hologram.created", {"id": "holo_1", "object": "hologram"}).records == ("holo_1",)


def sample(object_type: str) -> dict[str, Any]:
    references = catalog.object_types()[object_type].references
    return {"id": "obj_1", "object": object_type, **{field: f"{field}_1" for field in references}}


@pytest.mark.parametrize("event", catalog.event_types().values(), ids=lambda e: e.name)
def test_every_event_type_of_the_catalog_names_what_may_be_kept(event: catalog.EventType) -> None:
    for object_type in event.objects:
        if event.flavour == "snapshot":
            named = "obj_1" in snapshot(event.name, sample(object_type)).records
            assert named is (object_type not in never_cached())
        if event.flavour == "snapshot" or object_type in never_cached():
            continue
        for template in catalog.object_types()[object_type].templates:
            operation = catalog.match("get", template.replace("{", "").replace("}", ""))
            if operation is None or operation.kind not in {"retrieve", "singleton"}:
                continue
            url = "/".join("obj_1" if s.startswith("{") else s for s in template.split("/"))
            named = set(thin(event.name, {"id": "obj_1", "type": object_type, "url": url}).records)
            kept = records.place(operation, url, ())
            assert kept.record in named, template


def test_every_rule_matches_an_event_or_an_operation_and_names_known_types_and_fields() -> None:
    types = catalog.object_types()
    names = [event.name.removeprefix("v1.") for event in catalog.event_types().values()]
    for row in effects().events:
        stem = row.pattern.removesuffix("*")
        assert any(name.startswith(stem) for name in names), row
    for row in effects().writes:
        method, _, pattern = row.pattern.partition(" ")
        stem = pattern.removesuffix("*")
        assert any(
            o.path.startswith(stem) and method in {"*", o.method} and o.method != "get" for o in catalog.operations()
        ), row
    for row in (*effects().events, *effects().writes):
        assert len(row.why) > 10
        for object_type, fields in row.lists.items():
            assert object_type in types, row
            collections = catalog.collections_of(object_type)
            assert collections, row
            known = {f for o in collections for f in (*o.partitions, *o.fields)}
            known |= {"coupon"} if object_type == "promotion_code" else set()  # No partition: the row means all.
            assert set(fields) <= known, (row.pattern, object_type, set(fields) - known)


@pytest.mark.parametrize(
    ("event", "missing"),
    [
        ([], "an event is a JSON object, and this is of type list"),
        ("evt_1", "this is 'evt_1'"),
        ({}, "`id` is missing"),
        ({"id": "evt_1"}, "`type` is missing"),
        ({"id": "evt_1", "type": "x"}, "`object` is missing: an event says 'event'"),
        ({"id": "cus_1", "object": "customer", "type": "x"}, "`object` is 'customer'"),
        ({"id": "evt 1", "object": "event", "type": "x"}, "`id` is 'evt 1'"),
        ({"id": "evt_1", "object": "event", "type": "x"}, "'evt_1' has no object under `data.object`"),
        ({"id": "evt_1", "object": "event", "type": "x", "data": {"object": []}}, "has no object under"),
        ({"detail-type": "x", "detail": "y"}, "`detail` is 'y'"),
        ({"detail-type": "x"}, "`detail` is missing"),
        (CHANGED | {"account": "acct 2"}, "`account` is 'acct 2'"),
        (CHANGED | {"account": ""}, "`account` is ''"),
        (CHANGED | {"account": {"id": "acct_2"}}, "`account` is of type dict"),
        (CHANGED | {"account": None, "context": "org_1/"}, "`context` is 'org_1/'"),
        (CHANGED | {"object": "v2.core.event", "context": 2}, "`context` is of type int"),
        ({"detail-type": "x", "account": "123456789012", "detail": CHANGED | {"account": []}}, "`account` is of type"),
    ],
)
def test_what_is_no_event_is_refused_and_says_what_is_missing(event: Any, missing: str) -> None:
    with pytest.raises(NotAnEventError, match=missing):
        affected(event)


@pytest.mark.parametrize("absent", [{}, {"account": None}, {"context": None}, {"account": None, "context": None}])
@pytest.mark.parametrize("kind", ["event", "v2.core.event"])
def test_an_event_that_names_no_account_is_the_receivers_own(kind: str, absent: dict[str, None]) -> None:
    assert affected(CHANGED | {"object": kind} | absent).account is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "object", "customer", "items", "data", "url"]), inner, max_size=4)
    ),
    max_leaves=12,
)
TYPES = st.sampled_from(sorted(catalog.event_types())) | st.text(max_size=20)
OBJECTS = st.sampled_from(sorted(catalog.object_types())) | JSON
EVENTS = st.fixed_dictionaries(
    {"id": st.just("evt_1") | JSON, "object": st.sampled_from(["event", "v2.core.event"]) | JSON, "type": TYPES},
    optional={
        "data": st.fixed_dictionaries(
            {"object": st.fixed_dictionaries({"id": JSON, "object": OBJECTS}, optional={"customer": JSON}) | JSON},
            optional={"previous_attributes": JSON},
        )
        | JSON,
        "related_object": st.fixed_dictionaries(
            {"id": JSON, "type": OBJECTS, "url": st.sampled_from(["/v1/customers/%FF", "/v1/balance"]) | JSON}
        )
        | JSON,
        "created": JSON | st.sampled_from(["2026-10-28T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01"]),
        "account": JSON,
        "context": JSON,
        "livemode": JSON,
        "detail": JSON,
        "detail-type": JSON,
    },
)


@given(EVENTS | JSON)
@example({"id": "e", "object": "event", "type": "x", "data": {"object": {}}, "created": 10**400})
@example({"id": "e", "object": "event", "type": "x", "data": {"object": {}}, "created": 10**5000})
def test_any_json_is_an_event_or_refused_as_none(event: Any) -> None:
    try:
        found = affected(event)
    except NotAnEventError:
        return
    assert list(found.records) == sorted(set(found.records))
    for record in found.records:
        assert records.is_record(record) or record.endswith("?*"), record
    assert json.loads(json.dumps(found.records)) == list(found.records)
