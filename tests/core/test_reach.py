"""In which accounts' namespaces a change is told, and what of it."""

from __future__ import annotations

import pytest

from stripe_cache.core import catalog
from stripe_cache.core.reach import spread
from stripe_cache.core.records import broad

CUSTOMER = ("cus_1", "/v1/customers", "/v1/customers/cus_1/tax_ids", "/v1/subscriptions?customer=cus_1")
ACCOUNT = ("acct_C", "/v1/account", "/v1/accounts", "/v1/accounts/acct_C/persons")


def test_who_has_no_connected_accounts_pays_nothing() -> None:
    assert spread("acct_P", None, CUSTOMER) == {"acct_P": tuple(sorted(CUSTOMER))}
    assert spread("shop", None, (*CUSTOMER, "/v1/balance", "/v1/prices?*")).keys() == {"shop"}
    assert spread("acct_P", "acct_P", CUSTOMER).keys() == {"acct_P"}
    assert spread("acct_P", "acct_P", CUSTOMER, unsure=True).keys() == {"acct_P"}


def test_a_connected_accounts_change_is_told_to_the_platform_by_what_it_names_for_certain() -> None:
    named = (*CUSTOMER, "/v1/balance", "/v1/subscriptions?*", "?customer-gone=cus_1", "person_1")
    found = spread("acct_P", "acct_C", named)
    assert found == {
        "acct_C": tuple(sorted(named)),
        "acct_P": tuple(sorted({*named} - {"/v1/customers", "/v1/balance", "/v1/subscriptions?*"})),
    }
    assert list(found) == ["acct_C", "acct_P"], "whose it is comes first"


def test_a_change_that_names_only_lists_is_told_in_its_own_account_alone() -> None:
    assert spread("acct_P", "acct_C", ("/v1/customers", "/v1/prices?*")).keys() == {"acct_C"}


@pytest.mark.parametrize("records", [ACCOUNT, ("acct_C",), ("/v1/accounts/acct_C/persons", "person_1")])
def test_a_change_of_an_account_by_the_platform_is_told_to_the_account(records: tuple[str, ...]) -> None:
    assert spread("acct_P", None, (*records, "/v1/prices")) == {
        "acct_P": tuple(sorted((*records, "/v1/prices"))),
        "acct_C": tuple(sorted(records)),
    }


def test_whoever_changes_its_own_account_changes_what_others_read_by_its_id() -> None:
    assert spread("acct_P", "acct_C", ("/v1/account",)) == {
        "acct_C": ("/v1/account", "acct_C"),
        "acct_P": ("/v1/account", "acct_C"),
    }


def test_a_list_filtered_by_an_account_is_no_change_of_the_account() -> None:
    assert spread("acct_P", None, ("tr_1", "/v1/transfers?destination=acct_C")).keys() == {"acct_P"}


def test_a_connected_account_reaches_no_other_one() -> None:
    assert spread("acct_P", "acct_A", ("acct_B", "/v1/accounts/acct_B/persons")).keys() == {"acct_A", "acct_P"}


def test_a_context_may_be_the_operator_itself_unless_the_label_says_who_that_is() -> None:
    assert spread("shop", "acct_O", CUSTOMER, unsure=True) == {
        name: tuple(sorted(CUSTOMER)) for name in ("acct_O", "shop")
    }
    assert "/v1/customers" not in spread("acct_P", "acct_O", CUSTOMER, unsure=True)["acct_P"]
    assert spread("shop", "acct_O", ACCOUNT, unsure=True)["acct_C"], (
        "and then it may have changed an account of its own"
    )


def test_everything_that_is_kept_below_accounts_is_told_to_both() -> None:
    """What the catalog has of accounts, their persons and the like, so that a new operation is not forgotten."""
    family = [
        operation
        for operation in catalog.operations()
        if operation.method == "get" and operation.path.startswith(("/v1/account", "/v2/core/account"))
        if operation.kind in {"list", "singleton"}
    ]
    assert {"/v1/account", "/v1/accounts", "/v2/core/accounts"} <= {operation.path for operation in family}
    for operation in family:
        for record in (
            operation.path.replace("{account}", "acct_C").replace("{account_id}", "acct_C"),
            broad(operation),
        ):
            assert record in spread("acct_P", "acct_C", (record,))["acct_P"]
