from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_cache.core.policy import forbidden_fields
from stripe_cache.core.secrets_check import _searches, has_secret

CUSTOMER = {"id": "cus_1", "object": "customer", "email": "a@b.c", "address": None, "metadata": {"secretary": "Jo"}}


@pytest.mark.parametrize(
    "body",
    [
        b'{"client_secret": "pi_1_secret_2"}',
        b'{"client_secret":"x"}',
        b'{"a": {"b": [{"secret"\n\t:\r\n "whsec_1"}]}}',
        b'{"signing_secret" : "x"}',
        b'{"cvc": "123"}',
        b'{"number": "4242424242424242"}',
        b'{"account_number": "000123456789"}',
        b'{"account_number": 123}',
        b'{"iban": "DE89370400440532013000"}',
        b'{"iban": {"iban": null}}',
        b'{"id_number": "1"}',
        b'{"password": "x"}',
        b'{"verified_outputs": {"dob": null}}',
        b'{"client_secret": null, "payment": {"client_secret": "x"}}',
        b'{"url_params": "pi_1_secret_abcdef123"}',
        b'{"number": "4242 4242 4242 4242"}',
        b'{"metadata": {"note": "use sk_live_51Habcdefghi"}}',
        b'{"api_key": "rk_test_51Habcdefghi"}',
        b'{"x": "whsec_abcdefgh1234"}',
        b'{"x": "ek_live_YWNjdF8xSDE"}',
    ],
)
def test_a_body_with_a_secret_is_found(body: bytes) -> None:
    assert has_secret(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"client_secret": null}',
        b'{"client_secret" :null,"cvc":""}',
        b'{"verified_outputs": { }, "iban": [\n]}',
        b'{"number": "ABC-0001"}',
        b'{"number": "11223344-0001"}',
        b'{"number": 4242}',
        b'{"secrets": "x", "my_client_secretary": "x", "cvc_check": "pass", "iban_last4": "1234"}',
        b'{"id_number_provided": true, "account_number_last4": "1234"}',
        b'{"secret": false}',
        b'{"description": "keys begin with sk_live_ or whsec_"}',
        json.dumps({"description": '"client_secret": "x"'}).encode(),
    ],
)
def test_a_body_without_a_secret_is_not(body: bytes) -> None:
    assert not has_secret(body)


EMPTY: st.SearchStrategy[Any] = st.sampled_from([None, "", {}, []])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(0, 10**6) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN, st.sampled_from(sorted(forbidden_fields())), st.sampled_from([None, 0, 2]), st.data())
def test_a_secret_is_found_at_any_depth_and_spacing_and_an_empty_one_never(
    around: Any, name: str, indent: int | None, data: st.DataObject
) -> None:
    def dumped(value: Any) -> bytes:
        return json.dumps({"a": around, "b": [{"c": {name: value}}]}, indent=indent).encode()

    assert has_secret(dumped("4242424242424242"))
    assert has_secret(dumped(data.draw(EMPTY))) is has_secret(dumped(None))


@given(st.binary())
def test_any_bytes_are_answered(body: bytes) -> None:
    assert has_secret(body) in {True, False}


def test_every_forbidden_name_has_a_needle_without_which_its_pattern_cannot_match() -> None:
    patterns = {pattern.pattern: needle for needle, group in _searches() for pattern in group}
    for name in forbidden_fields():
        own = [(p, needle) for p, needle in patterns.items() if p.startswith(f'"{name}"'.encode())]
        assert len(own) == 1, name
        assert own[0][1] in f'"{name}"'.encode()


def test_ten_kilobytes_take_microseconds_and_white_space_cannot_make_them_more() -> None:
    body = json.dumps({"data": [CUSTOMER] * 70}, indent=2).encode()[:10240]
    assert len(body) == 10240
    hostile = b'"client_secret"' + b" " * 10000 + b'"client_secret" :' + b"\n" * 10000 + b"null"
    for content in (body, hostile):
        rounds = []
        for _ in range(10):
            started = time.perf_counter()
            found = has_secret(content)
            rounds.append(time.perf_counter() - started)
            assert not found
        # About 20 us where this was measured; a search that goes quadratic takes a hundred times the bound.
        assert min(rounds) < 1e-3
