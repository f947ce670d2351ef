from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_cache.core import catalog, records
from stripe_cache.core.errors import RequestError
from stripe_cache.core.records import Placement, place, records_named, validate_record


def placed(path: str, *pairs: tuple[str, str]) -> Placement:
    operation = catalog.match("get", path)
    assert operation is not None
    return place(operation, path, pairs)


def test_an_object_is_kept_under_its_id_wherever_its_path_hangs() -> None:
    assert placed("/v1/customers/cus_1") == Placement("cus_1", ())
    assert placed("/v1/customers/cus_1/tax_ids/txi_1") == Placement("txi_1", ())
    assert placed("/v1/coupons/A%2BB") == Placement("A+B", ())


def test_what_no_event_tells_of_but_its_parents_embeds_its_parent() -> None:
    assert placed("/v1/products/prod_1/features/prodft_1") == Placement("prodft_1", ("prod_1",))
    assert placed("/v1/transfers/tr_1/reversals/trr_1") == Placement("trr_1", ("tr_1",))


def test_an_object_without_id_is_kept_under_its_path() -> None:
    assert placed("/v1/balance") == Placement("/v1/balance", ())


def test_a_collection_is_kept_under_its_path_whatever_else_is_asked() -> None:
    assert placed("/v1/customers", ("limit", "3"), ("email", "a@b.c")) == Placement("/v1/customers", ())
    assert placed("/v1/subscriptions", ("status", "all")) == Placement("/v1/subscriptions", ())


def test_a_filter_that_members_answer_makes_a_partition_that_embeds_the_broad_record() -> None:
    kept = placed("/v1/subscriptions", ("limit", "3"), ("customer", "cus_1"))
    assert kept == Placement("/v1/subscriptions?customer=cus_1", ("/v1/subscriptions?*",))


def test_of_two_filters_the_preferred_one_makes_the_partition() -> None:
    kept = placed("/v1/charges", ("payment_intent", "pi_1"), ("customer", "cus_1"))
    assert kept.record == "/v1/charges?customer=cus_1"


@pytest.mark.parametrize(
    "pairs",
    [
        [("customer", "")],
        [("customer", "cus 1")],
        [("customer", "cus_1"), ("customer", "cus_2")],
        [("customer", "x" * 500)],
        [("customer[in]", "cus_1")],
    ],
)
def test_a_filter_that_names_no_single_object_leaves_the_plain_record(pairs: list[tuple[str, str]]) -> None:
    # The plain record is voided by every event of the type: safe, only coarse.
    assert placed("/v1/subscriptions", *pairs) == Placement("/v1/subscriptions", ())


def test_what_lies_below_a_parent_is_kept_under_its_path_and_embeds_the_broad_record() -> None:
    kept = placed("/v1/customers/cus_1/tax_ids", ("customer", "cus_2"))
    assert kept == Placement("/v1/customers/cus_1/tax_ids", ("/v1/customers/{customer}/tax_ids?*",))
    assert placed("/v1/customers/cus_1/cash_balance").embeds == ("/v1/customers/{customer}/cash_balance?*",)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/v1/customers/search"),
        ("get", "/v1/quotes/qt_1/pdf"),
        ("get", "/v1/credit_notes/preview"),
        ("post", "/v1/customers"),
    ],
)
def test_what_is_never_kept_is_refused(method: str, path: str) -> None:
    operation = catalog.match(method, path)
    assert operation is not None
    with pytest.raises(RequestError, match=f"{method.upper()} {path.replace('qt_1', '{quote}')} are never kept"):
        place(operation, path, ())


@pytest.mark.parametrize("coded", ["my+plan", "my%20plan", "a%7Cb", "a%7Bb", "%23", "%C3%BC"])
def test_an_id_that_cannot_name_a_record_is_refused(coded: str) -> None:
    with pytest.raises(RequestError, match="cannot name a record"):
        placed(f"/v1/plans/{coded}")


@pytest.mark.parametrize(
    "text", ["", " ", "a b", "a\n", "a\x00", "ü", "a{b", "a}b", "a|b", "#", "#1", "x" * 501, "\ud800", "a\x7f"]
)
def test_a_text_that_cannot_name_a_record_is_refused_with_its_value(text: str) -> None:
    with pytest.raises(RequestError, match="cannot name a record") as caught:
        validate_record(text)
    assert repr(text)[:60] in str(caught.value)
    assert len(str(caught.value)) < 300
    assert not records.is_record(text)


@given(st.text(max_size=600))
def test_validate_record_returns_the_text_or_raises_request_error(text: str) -> None:
    try:
        assert validate_record(text) == text
    except RequestError:
        assert not records.is_record(text)
    else:
        assert 1 <= len(text) <= 500
        assert text.isascii()
        assert not set(text) & set(" {}|\n\t")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cus_1", ("cus_1",)),
        ("/v1/customers/cus_1", ("cus_1",)),
        ("/v1/customers", ("/v1/customers",)),
        ("/v1/prices", ("/v1/prices", "/v1/prices?*")),
        ("/v1/prices?product=prod_1", ("/v1/prices?product=prod_1",)),
        ("/v1/prices?active=true", ("/v1/prices", "/v1/prices?*")),
        ("/v1/prices?*", ("/v1/prices?*",)),
        ("/v1/customers/{customer}/tax_ids?*", ("/v1/customers/{customer}/tax_ids?*",)),
        ("/v1/customers/cus_1/tax_ids", ("/v1/customers/cus_1/tax_ids",)),
        ("/v1/balance", ("/v1/balance",)),
    ],
)
def test_what_a_caller_names_becomes_records(text: str, named: tuple[str, ...]) -> None:
    assert records_named(text) == named


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "cannot name a record"),
        ("v1/customers", "paths start with /v1/"),
        ("https://api.stripe.com/v1/customers", "paths start with /v1/"),
        ("/v1/customer", "is no path of Stripe API"),
        ("/v1/customers/", "without host, trailing slash"),
        ("/v1/customers/search", "never kept"),
        ("/v1/nothing?*", "is no path"),
        ("/v1/{x}?*", "cannot name a record"),
        ("customers", "pass /v1/customers, or"),
        ("customer", "pass /v1/customers, or"),
        ("balance", "pass /v1/balance, or"),
    ],
)
def test_what_names_nothing_is_refused_with_a_remedy(text: str, remedy: str) -> None:
    with pytest.raises(RequestError, match=remedy):
        records_named(text)


@given(st.text(max_size=60))
def test_records_named_raises_nothing_but_request_error(text: str) -> None:
    for candidate in (text, f"/v1/{text}", f"/v1/prices?{text}"):
        try:
            named = records_named(candidate)
        except RequestError:
            continue
        assert named


@pytest.mark.parametrize(
    "operation",
    [o for o in catalog.operations() if o.method == "get" and o.kind in {"list", "singleton"}],
    ids=lambda o: o.path,
)
def test_every_collection_answer_is_voided_by_an_object_of_which_only_the_type_is_known(
    operation: catalog.Operation,
) -> None:
    """The least informative change of a member must still reach every way in which its lists are kept."""
    path = "/".join(f"id_{i}" if s.startswith("{") else s for i, s in enumerate(operation.path.split("/")))
    for pairs in ([], *([(name, "id_9")] for name in operation.partitions)):
        kept = place(operation, path, pairs)
        for name in operation.objects:
            voided = records.collection_records(name, {})
            assert {kept.record, *kept.embeds} & voided, (kept, voided)


def test_a_known_field_names_the_partition_and_null_names_none() -> None:
    named = records.collection_records("subscription", {"customer": "cus_1"})
    assert named == {"/v1/subscriptions", "/v1/subscriptions?customer=cus_1"}
    assert records.collection_records("charge", {"customer": None, "payment_intent": {"id": "pi_1"}}) == {
        "/v1/charges",
        "/v1/charges?payment_intent=pi_1",
    }


def test_an_old_value_names_its_partition_too() -> None:
    named = records.collection_records("price", {"product": "prod_2"}, {"product": "prod_1"})
    assert {"/v1/prices?product=prod_1", "/v1/prices?product=prod_2"} <= named


def test_a_null_that_may_have_replaced_a_value_counts_as_unknown() -> None:
    named = records.collection_records("payment_method", {"customer": None}, released=True)
    assert {"/v1/payment_methods?*", "/v1/customers/{customer}/payment_methods?*"} <= named
    told = records.collection_records("payment_method", {"customer": None}, {"customer": "cus_1"}, released=True)
    assert "/v1/customers/cus_1/payment_methods" in told
    assert "/v1/payment_methods?*" not in told


def test_below_an_object_lies_what_no_event_tells_of_and_everything_once_it_is_gone() -> None:
    some = records.records_below("customer", "cus_1", everything=False)
    everything = records.records_below("customer", "cus_1", everything=True)
    assert some == {"/v1/customers/cus_1/balance_transactions"}
    assert some | {"/v1/customers/cus_1/tax_ids", "/v1/customers/cus_1/cash_balance"} <= everything
    assert records.records_below("quote", "qt_1", everything=False) == {
        "/v1/quotes/qt_1/line_items",
        "/v1/quotes/qt_1/computed_upfront_line_items",
    }
