"""Bodies and events that are made to hurt: a Stripe call never fails for them, and no work is unbounded."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from stripe_cache import NotAnEventError, Settings, StripeCache
from stripe_cache.core import catalog
from stripe_cache.core.embedded import NotEmbeddableError, embedded_records
from stripe_cache.core.events import MOST_RECORDS, affected
from stripe_cache.core.records import is_broad, is_record
from stripe_cache.core.writes import touched_after, touched_before
from stripe_cache.http_client import CachingHTTPClient

if TYPE_CHECKING:
    from collections.abc import Mapping

API = "https://api.stripe.com"
IDS = [{"object": "subscription_item", "id": f"si_{number}"} for number in range(100_000)]
BODIES = {
    "deep-lists": b"[" * 200_000,
    "deep-objects": b'{"data":' * 100_000 + b"1" + b"}" * 100_000,
    "huge-integer": b'{"id": "cus_1", "object": "customer", "balance": ' + b"9" * 500_000 + b"}",
    "huge-exponent": b'{"id": "cus_1", "object": "customer", "balance": 1e999999999}',
    "not-a-number": b'{"id": "cus_1", "object": "customer", "balance": NaN}',
    "lone-surrogate": b'{"id": "\\ud800", "object": "customer"}',
    "no-text": b"\xff\xfe\x00",
    "a-number": b"7",
    "null": b"null",
    "empty": b"",
    "many-ids": json.dumps({"id": "sub_1", "object": "subscription", "items": {"data": IDS}}).encode(),
    "strange-types": b'{"id": ["x"], "object": {"a": 1}, "items": 7, "customer": [[]], "url": 5}',
    "hostile-list": b'{"object": "list", "url": "/v1/customers/%7B%7D|x?customer=\\u0000", "data": [{}]}',
    "million-keys": b"{" + b",".join(b'"%d":1' % number for number in range(200_000)) + b"}",
}


class Scripted(stripe.HTTPClient):
    """Answers every request with the same bytes."""

    name = "scripted"

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body
        self.calls = 0

    def request_with_retries(self, *_: Any, **__: Any) -> tuple[bytes, int, Mapping[str, str]]:
        self.calls += 1
        return self.body, 200, {"Request-Id": "req_1"}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize(
    ("method", "path"), [("get", "/v1/customers/cus_1"), ("get", "/v1/customers"), ("post", "/v1/subscriptions/sub_1")]
)
def test_a_call_is_answered_whatever_the_body(name: str, method: str, path: str) -> None:
    inner = Scripted(BODIES[name])
    client = CachingHTTPClient(StripeCache(Settings()).engine, inner)
    began = time.process_time()
    for _ in range(2):
        body, status, _ = client.request_with_retries(
            method,
            f"{API}{path}",
            {"Authorization": "Bearer sk_test_a"},
            "items[0][id]=x" if method == "post" else None,
        )
        assert (body, status) == (BODIES[name], 200)
    assert time.process_time() - began < 20, "of the processor: what costs the square of its size takes far longer"


@pytest.mark.parametrize("form", ["&".join(f"items[{n}][coupon]=c{n}" for n in range(100_000)), "[" * 100_000, "{" * 9])
def test_a_write_is_sent_whatever_the_form(form: str) -> None:
    inner = Scripted(b"{}")
    client = CachingHTTPClient(StripeCache(Settings()).engine, inner)
    client.request_with_retries("post", f"{API}/v1/subscriptions", {"Authorization": "Bearer sk_test_a"}, form)
    assert inner.calls == 1


def event_of(body: Any, event_type: str = "customer.subscription.updated") -> dict[str, Any]:
    return {"id": "evt_1", "object": "event", "type": event_type, "data": {"object": body}}


def test_an_event_that_names_a_hundred_thousand_objects_is_read_in_no_time() -> None:
    body = {"id": "sub_1", "object": "subscription", "items": {"data": IDS}}
    began = time.process_time()
    assert len(affected(event_of(body)).records) > len(IDS)
    assert time.process_time() - began < 20, "of the processor: what costs the square of its size takes far longer"
    few = {**body, "items": {"data": IDS[:20]}}
    assert 20 < len(affected(event_of(few)).records) < MOST_RECORDS


def test_lists_within_lists_are_not_followed_for_ever() -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    body = {"id": "sub_1", "object": "subscription", "items": {"data": []}}
    flat = affected(event_of(body)).records
    assert affected(event_of({**body, "items": {"data": nested}})).records == flat
    while nested:
        # Taken apart from outside in: freeing it in one go would recurse.
        nested = nested.pop()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["cus_1", "/v1/x"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "object", "data", "items", "url", "customer", "account", "related_object", "type"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)
event_types = st.sampled_from(
    ["customer.deleted", "invoice.paid", "v2.core.account.updated", "x.y", "promotion_code.created"]
)


@given(json_values, event_types, st.sampled_from(["event", "v2.core.event"]))
def test_events_of_any_shape_name_records_or_are_no_events(value: Any, event_type: str, kind: str) -> None:
    for event in (
        value,
        {**event_of(value, event_type), "object": kind, "related_object": value, "account": value},
        {"detail-type": "x", "detail": value},
        {**event_of({"object": "customer", "id": "cus_1"}, event_type), "created": value, "context": value},
    ):
        try:
            found = affected(event)
        except NotAnEventError:
            continue
        assert list(found.records) == sorted({*found.records})
        assert all(is_record(record) or is_broad(record) for record in found.records)
        assert found.account is None or isinstance(found.account, str)
        assert found.livemode in {None, True, False}
        assert found.created is None or math.isfinite(found.created)


@given(json_values, json_values)
def test_whatever_stands_around_a_changed_object_it_is_voided(value: Any, other: Any) -> None:
    event = event_of({"object": "customer", "id": "cus_1", "items": value, "data": other}, "customer.updated")
    assert "cus_1" in affected(event).records


def ids_in(value: Any) -> set[str]:
    """Find the ids of all objects in an answer that carry one, without any of the code under test."""
    if isinstance(value, list):
        return set().union(*map(ids_in, value))
    if not isinstance(value, dict):
        return set()
    is_object = isinstance(value.get("object"), str) and value["object"] != "list"
    own = {value["id"]} if is_object and isinstance(value.get("id"), str) else set()
    return own.union(*map(ids_in, value.values()))


@given(json_values)
def test_answers_of_any_shape_embed_all_their_objects_or_are_not_stored(value: Any) -> None:
    try:
        found = embedded_records(value, "cus_1", ("/v1/prices",))
    except NotEmbeddableError:
        return
    assert isinstance(value, dict | list)
    assert list(found) == sorted({*found})
    assert all(is_record(record) or is_broad(record) for record in found)
    assert {*found} >= (ids_in(value) | {"/v1/prices"}) - {"cus_1"}
    assert "cus_1" not in found


@given(json_values)
def test_an_answer_of_any_shape_is_given_as_it_is_however_often_it_is_asked_for(value: Any) -> None:
    inner = Scripted(json.dumps(value).encode())
    client = CachingHTTPClient(StripeCache(Settings()).engine, inner)
    for _ in range(2):
        given = client.request_with_retries(
            "get", f"{API}/v1/customers/cus_1", {"Authorization": "Bearer sk_test_a"}, None
        )
        assert (given[0], given[1]) == (inner.body, 200)
    assert inner.calls in ({1, 2} if isinstance(value, dict | list) else {2})


@given(st.dictionaries(st.sampled_from(["id", "object", "items", "customer", "deleted", "coupon"]), json_values))
def test_whatever_a_write_answers_the_records_to_void_are_found(body: dict[str, Any]) -> None:
    for method, path in (("post", "/v1/subscriptions/sub_1"), ("delete", "/v1/customers/cus_1"), ("post", "/v9/new")):
        operation = catalog.match(method, path)
        after = touched_after(operation, path, (), body)
        assert set(touched_before(operation, path, ())) <= set(after)
        assert all(is_record(record) or record.endswith("?*") for record in after)
