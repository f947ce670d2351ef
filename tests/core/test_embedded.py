from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_cache.core.effects import ANY
from stripe_cache.core.embedded import MOST, NotEmbeddableError, embedded_records
from stripe_cache.core.records import dependency, gate

ids = st.integers(0, 30).map(lambda number: f"cus_{number}")
objects = st.recursive(
    st.fixed_dictionaries({"object": st.just("customer"), "id": ids}),
    lambda inner: st.fixed_dictionaries(
        {"object": st.just("x"), "id": ids, "a": inner, "b": st.lists(inner, max_size=3)}
    ),
    max_leaves=12,
)


def named(body: Any) -> set[str]:
    """Collect every id of an object, the plain way."""
    if isinstance(body, list):
        return {name for one in body for name in named(one)}
    if not isinstance(body, dict):
        return set()
    own = {body["id"]} if "id" in body and "object" in body else set()
    return own | {name for value in body.values() for name in named(value)}


@given(objects)
def test_every_object_with_an_id_counts_but_the_answers_own(body: Any) -> None:
    found = embedded_records(body, body["id"], ())
    assert list(found) == sorted(named(body) - {body["id"]})


def test_an_unexpanded_id_does_not_count() -> None:
    assert embedded_records({"object": "price", "id": "price_1", "product": "prod_1"}, "price_1", ()) == ()


def test_a_customers_end_counts_for_what_ends_with_it() -> None:
    body = {"object": "subscription", "id": "sub_1", "customer": "cus_1"}
    assert embedded_records(body, "sub_1", ()) == ("?customer-billing=cus_1",)
    body = {"object": "tax_id", "id": "txi_1", "customer": "cus_1"}
    assert embedded_records(body, "txi_1", ()) == ("?customer-gone=cus_1",)


def test_a_default_payment_method_counts_because_its_detachment_names_no_customer() -> None:
    body = {"object": "customer", "id": "cus_1", "invoice_settings": {"default_payment_method": "pm_1"}}
    assert embedded_records(body, "cus_1", ()) == ("pm_1",)


def test_a_type_that_is_voided_at_large_counts_wherever_it_is_or_only_where_it_is_the_answer() -> None:
    money = {"object": "balance_transaction", "id": "txn_1"}
    assert embedded_records({"object": "charge", "id": "ch_1", "balance_transaction": money}, "ch_1", ()) == (
        "?any=balance_transaction",
        "txn_1",
    )
    item = {"object": "subscription_item", "id": "si_1", "subscription": "sub_1"}
    assert embedded_records({"object": "subscription", "id": "sub_1", "x": [item]}, "sub_1", ()) == ("si_1",)
    assert embedded_records(item, "si_1", ()) == ("?any=subscription_item", "sub_1")
    listed = {"object": "list", "data": [item, None, "x", {"object": []}]}
    assert "?any=subscription_item" in embedded_records(listed, "/v1/subscription_items", ())


def test_what_always_counts_is_added() -> None:
    assert embedded_records({"object": "list", "data": []}, "/v1/prices?product=p", ("/v1/prices?*",)) == (
        "/v1/prices?*",
    )


def test_a_list_inside_counts_by_its_url_because_a_new_member_changes_the_answer() -> None:
    tax_ids = {"object": "list", "url": "/v1/customers/cus_1/tax_ids", "data": [{"object": "tax_id", "id": "txi_1"}]}
    body = {"object": "customer", "id": "cus_1", "tax_ids": tax_ids}
    assert embedded_records(body, "cus_1", ()) == (
        "/v1/customers/cus_1/tax_ids",
        "/v1/customers/{customer}/tax_ids?*",
        "txi_1",
    )


@pytest.mark.parametrize("url", [None, 7, "", "/v1/nothing", "/v1/customers/cus_1", "https://elsewhere/v1/customers"])
def test_a_list_that_nothing_is_known_to_change_makes_the_answer_unstorable(url: object) -> None:
    body = {"object": "x", "id": "x_1", "items": {"object": "list", "url": url, "data": []}}
    with pytest.raises(NotEmbeddableError, match="which no event or write is known to change"):
        embedded_records(body, "x_1", ())


def test_an_id_that_cannot_name_a_record_makes_the_answer_unstorable() -> None:
    with pytest.raises(NotEmbeddableError, match="cannot name a record"):
        embedded_records({"object": "x", "id": "x_1", "a": {"object": "y", "id": "a b"}}, "x_1", ())


def test_more_than_a_read_can_check_is_unstorable() -> None:
    body = {"object": "list", "data": [{"object": "x", "id": f"x_{number}"} for number in range(MOST)]}
    assert len(embedded_records(body, "/v1/x", ())) == MOST
    with pytest.raises(NotEmbeddableError, match=str(MOST + 1)):
        embedded_records(body, "/v1/x", ("one-more",))


def listed(url: str, *members: object) -> dict[str, object]:
    return {"object": "list", "data": list(members), "url": url}


def test_a_filtered_list_does_not_depend_on_the_whole_collection() -> None:
    """Stripe's url of a list leaves the filter out: counted, every change of any member of it would void them all."""
    broad = "/v1/subscriptions?*"
    answer = listed("/v1/subscriptions", {"object": "subscription", "id": "sub_1"})
    assert embedded_records(answer, "/v1/subscriptions?customer=cus_1", (broad,)) == (broad, "sub_1")


def test_a_list_inside_an_object_counts_by_its_url_and_its_members_by_their_ids() -> None:
    items = listed("/v1/subscription_items?subscription=sub_1", {"object": "subscription_item", "id": "si_1"})
    found = embedded_records({"object": "subscription", "id": "sub_1", "items": items}, "sub_1", ())
    assert found == ("/v1/subscription_items?*", "/v1/subscription_items?subscription=sub_1", "si_1")


@pytest.mark.parametrize("kind", ["transfer", "transfer_reversal", "application_fee", "fee_refund"])
def test_a_platforms_object_in_what_is_read_for_a_connected_account_makes_the_answer_unstorable(kind: str) -> None:
    inside = {"id": "x_1", "object": kind}
    for body in ({"id": "py_1", "object": "charge", "source": inside}, {"object": "list", "data": [{"y": [inside]}]}):
        with pytest.raises(NotEmbeddableError, match="another account"):
            embedded_records(body, "py_1", (gate("acct_C"),))
        assert "x_1" in embedded_records(body, "py_1", ())


def test_what_a_connected_account_asks_for_by_itself_is_its_own() -> None:
    fee = {"id": "fee_1", "object": "application_fee"}
    any_fee = dependency(ANY, "application_fee")
    assert set(embedded_records(fee, "fee_1", (gate("acct_C"),))) == {gate("acct_C"), any_fee}
    listed = {"object": "list", "url": "/v1/application_fees", "data": [fee]}
    wanted = {gate("acct_C"), any_fee, "fee_1"}
    assert set(embedded_records(listed, "/v1/application_fees", (gate("acct_C"),))) == wanted
