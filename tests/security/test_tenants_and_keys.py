"""Who gets to see what, and who gets to void what: crafted ids, queries, keys and accounts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import stripe
from hypothesis import assume, given
from hypothesis import strategies as st

from stripe_cache import RequestError, Settings, StripeCache
from stripe_cache.core import query
from stripe_cache.core.key import Key, is_label, namespace_of, variant_of
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.records import is_broad, is_record
from stripe_cache.http_client import CachingHTTPClient
from stripe_cache.tiers.dynamodb import _pk
from stripe_cache.tiers.redis import record_key

if TYPE_CHECKING:
    from collections.abc import Mapping

API = "https://api.stripe.com"
SK, RK = "sk_test_full", "rk_test_restricted"

tricky = st.text(alphabet="ab1|{}#?%/&=[]+ .\x1f\x1e\x00é", max_size=12)
labels = st.text(alphabet="a-_", min_size=1, max_size=3)
named = st.text(alphabet="a?*/.-_", min_size=1, max_size=4)
segments = st.text(alphabet="abc_123%7C5D{}|#.~'()*", min_size=1, max_size=12)


class Counting(stripe.HTTPClient):
    """Answers with the credential and account it saw, and counts."""

    name = "counting"

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def request_with_retries(
        self, _method: str, url: str, headers: Mapping[str, str], *_: Any, **__: Any
    ) -> tuple[bytes, int, Mapping[str, str]]:
        self.calls += 1
        seen = f"{headers['Authorization']} {headers.get('Stripe-Account', '')}"
        name = urlsplit(url).path.rpartition("/")[2]
        return b'{"object": "customer", "id": "%s", "name": "%s"}' % (name.encode(), seen.encode()), 200, {}


def ask(client: CachingHTTPClient, key: str, account: str = "", path: str = "/v1/customers/cus_1") -> bytes:
    headers = {"Authorization": f"Bearer {key}", **({"Stripe-Account": account} if account else {})}
    return bytes(client.request_with_retries("get", f"{API}{path}", headers)[0])


@given(st.lists(tricky, min_size=1, max_size=4), st.lists(tricky, min_size=1, max_size=4))
def test_different_parts_make_different_variants(one: list[str], other: list[str]) -> None:
    assert (variant_of(*one) == variant_of(*other)) == (one == other)


@given(st.tuples(tricky, tricky, tricky), st.tuples(tricky, tricky, tricky))
def test_different_slots_have_different_bindings(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (Key.of(*one).binding == Key.of(*other).binding) == (one == other)


@given(st.tuples(labels, named), st.tuples(labels, named))
def test_different_records_have_different_places_in_both_stores(one: tuple[str, str], other: tuple[str, str]) -> None:
    assume(one != other and all(is_label(label) and is_record(record) for label, record in (one, other)))
    places = [(namespace_of(label, livemode=True), record) for label, record in (one, other)]
    assert len({record_key(*place) for place in places}) == 2
    assert len({_pk(*place) for place in places}) == 2


@given(st.lists(st.tuples(tricky, tricky), max_size=5), st.lists(st.tuples(tricky, tricky), max_size=5))
def test_queries_share_a_key_only_if_they_ask_the_same(one: list[Any], other: list[Any]) -> None:
    canonical = query.canonical(one)
    assert query.canonical(query.parse(canonical)) == canonical
    if canonical == query.canonical(other):
        assert {value for _, value in one} == {value for _, value in other}


@given(segments, st.lists(st.tuples(tricky, tricky), max_size=3))
def test_a_crafted_id_or_query_never_leaves_its_namespace(segment: str, pairs: list[tuple[str, str]]) -> None:
    planner = StripeCache(Settings(namespace="acct_1")).engine.planner
    url = f"{API}/v1/customers/{segment}?{query.canonical(pairs)}"
    plan = planner.plan(Request("get", url, SK, "", "", "2025"))
    if isinstance(plan, Plan):
        assert plan.key.namespace == "acct_1.test"
        assert is_record(plan.key.record) or is_broad(plan.key.record)
        place = record_key(plan.key.namespace, plan.key.record)
        assert place.count("|") == place.count("{") == place.count("}") == 1


@pytest.mark.parametrize("scope", ["", "everybody"])
def test_a_restricted_key_never_reads_what_a_full_key_cached(scope: str) -> None:
    inner = Counting()
    client = CachingHTTPClient(StripeCache(Settings(shared_scope=scope)).engine, inner)
    ask(client, SK)
    assert SK.encode() in ask(client, SK)
    assert inner.calls == 1
    assert RK.encode() in ask(client, RK)
    assert inner.calls == 2
    assert (b"sk_test_other" in ask(client, "sk_test_other")) == (not scope)


def test_one_account_never_reads_what_another_cached() -> None:
    client = CachingHTTPClient(StripeCache(Settings()).engine, Counting())
    accounts = ["", "acct_A", "acct_B", "acct_A.live|x", "acct_A}", "acct_Ä"]
    assert len({ask(client, SK, account) for account in accounts}) == len(accounts)
    assert len({ask(client, SK, account) for account in accounts}) == len(accounts)


def event_for(account: object) -> dict[str, Any]:
    body = {"object": "customer", "id": "cus_1"}
    return {"id": "evt_1", "object": "event", "type": "customer.updated", "account": account, "data": {"object": body}}


def test_an_event_voids_in_its_own_account_and_mode_and_of_the_platforms_what_it_names_by_id() -> None:
    inner = Counting()
    cache = StripeCache(Settings(namespace="acct_P", memory_max_lag=0))
    client = CachingHTTPClient(cache.engine, inner)
    everyone = [(SK, ""), (SK, "acct_A"), (SK, "acct_B"), ("sk_live_full", ""), ("sk_live_full", "acct_A")]
    paths = ("/v1/customers/cus_1", "/v1/customers", "/v1/customers/cus_2")

    def asked_again() -> set[tuple[str, str, str]]:
        again = set()
        for key, account in everyone:
            for path in paths:
                calls = inner.calls
                ask(client, key, account, path)
                again |= {(key, account, path)} if inner.calls > calls else set()
        return again

    asked_again()
    assert asked_again() == set()
    # It names another account as well: whoever caused the event has no say in what becomes of that one's entries.
    body = {"object": "customer", "id": "cus_1", "account": "acct_B", "metadata": {"id": "acct_B"}}
    cache.apply_event({**event_for("acct_A"), "livemode": False, "data": {"object": body}})
    assert asked_again() == {(SK, "acct_A", paths[0]), (SK, "acct_A", paths[1]), (SK, "", paths[0])}
    # Nor has one of its accounts' that names it as what has changed.
    cache.apply_event(
        {**event_for("acct_A"), "type": "person.updated", "data": {"object": {**body, "object": "person"}}}
    )
    assert not {one for one in asked_again() if one[1] == "acct_B"}


@pytest.mark.parametrize(
    "account", ["acct_B.test", "x.test|cus_1", "acct_B}", "acct_B.test|#", "*", "acct_\u00c4", "a" * 600]
)
def test_no_account_name_reaches_another_namespace(account: str) -> None:
    inner = Counting()
    cache = StripeCache(Settings(namespace="acct_P"))
    client = CachingHTTPClient(cache.engine, inner)
    ask(client, SK, "acct_B")
    with contextlib.suppress(RequestError):
        cache.apply_event(event_for(account))
    calls = inner.calls
    ask(client, SK, "acct_B")
    assert inner.calls == calls
