from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe._encode import _api_encode

from stripe_cache.core.errors import RequestError
from stripe_cache.core.query import canonical, encode, is_plain, parse

if TYPE_CHECKING:
    import random

names = st.text("abcxyz_", min_size=1, max_size=6)
words = st.text(min_size=0, max_size=8).filter(lambda text: text.isprintable())
moments = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (bounds)
# In a list the SDK would send True, None and datetimes as Python prints them; ours has Stripe's words there too.
items = st.one_of(words, st.integers(), st.decimals(allow_nan=False, allow_infinity=False))
scalars = st.one_of(items, st.none(), st.booleans(), moments)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(items, max_size=4),
        st.lists(st.dictionaries(names, inner, max_size=3), max_size=3),
        st.dictionaries(names, inner, max_size=3),
    ),
    max_leaves=10,
)


@given(st.dictionaries(names, values, max_size=5))
def test_parameters_are_flattened_exactly_as_the_official_sdk_does(params: dict[str, Any]) -> None:
    assert urlencode(encode(params)) == urlencode(list(_api_encode(params)))


@given(st.dictionaries(names, values, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_parameters_means_nothing(params: dict[str, Any], draw: random.Random) -> None:
    shuffled = list(params.items())
    draw.shuffle(shuffled)
    assert canonical(encode(dict(shuffled))) == canonical(encode(params))


@given(st.lists(names, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_expand_is_a_set_in_every_spelling(expansions: list[str], draw: random.Random) -> None:
    shuffled = expansions * 2
    draw.shuffle(shuffled)
    spellings = [
        [("expand[]", one) for one in shuffled],
        [(f"expand[{index}]", one) for index, one in enumerate(shuffled)],
        [("expand", one) for one in shuffled],
    ]
    expected = canonical([("expand[]", one) for one in expansions])
    assert {canonical(pairs) for pairs in spellings} == {expected}


@given(st.lists(words, min_size=1, max_size=5))
def test_a_list_is_the_same_with_and_without_indices_and_keeps_its_order(members: list[str]) -> None:
    indexed = canonical([(f"types[{index}]", one) for index, one in enumerate(members)])
    assert canonical([("types[]", one) for one in members]) == indexed
    if members != members[::-1]:
        assert canonical([("types[]", one) for one in members[::-1]]) != indexed


@given(st.dictionaries(names, words, max_size=5), st.dictionaries(names, words, max_size=5))
def test_different_questions_stay_different(one: dict[str, str], other: dict[str, str]) -> None:
    assert (canonical(one.items()) == canonical(other.items())) == (one == other)


@given(st.lists(st.tuples(names, words), max_size=6))
def test_the_canonical_form_is_its_own(pairs: list[tuple[str, str]]) -> None:
    once = canonical(pairs)
    assert canonical(parse(once)) == once


def test_a_blank_value_and_no_value_are_different_questions() -> None:
    assert canonical(parse("email=")) != canonical(parse(""))


def test_two_values_under_one_name_keep_their_order() -> None:
    assert canonical(parse("a=1&b=0&a=2")) == "a=1&a=2&b=0"


@pytest.mark.parametrize("value", [object(), {1, 2}, b"raw"])
def test_a_value_without_a_query_form_is_named(value: object) -> None:
    with pytest.raises(RequestError, match=rf"'a\[b\]' is a {type(value).__name__}, which has no query form: pass"):
        encode({"a": {"b": value}})


def test_words_of_each_type() -> None:
    params = {"a": True, "b": None, "c": Decimal("1.10"), "d": datetime(2024, 1, 1, tzinfo=UTC), "e": (1, False)}
    assert encode(params) == (("a", "true"), ("c", "1.10"), ("d", "1704067200"), ("e[0]", "1"), ("e[1]", "false"))


@pytest.mark.parametrize(
    "url",
    [
        "https://api.stripe.com/v1/customers?email=no\tra",
        "https://api.stripe.com/v1/customers/cus_\n1",
        "https://api.stripe.com/v1/customers?email=a b",
        "https://api.stripe.com/v1/customers?email=nör",
        "https://api.stripe.com/v1/customers?email=%ff",
        "https://api.stripe.com/v1/customers?email=a#b",
        "https://api.stripe.com/v1/customers?email=a;limit=3",
        "https://api.stripe.com/v1\\customers",
        "https://api.stripe.com/v1/customers?email",
        "https://api.stripe.com/v1/customers?limit=3&email",
    ],
)
def test_a_url_that_may_be_read_in_two_ways_has_no_key(url: str) -> None:
    assert not is_plain(url)


@given(
    params=st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.lists(st.text(), max_size=3), max_size=4)
)
def test_what_the_sdk_and_get_write_is_plain(params: dict[str, Any]) -> None:
    text = canonical(encode(params))
    assert is_plain(f"https://api.stripe.com/v1/customers?{text}")


@pytest.mark.parametrize(
    ("one", "other"),
    [("a[]=x&a[0]=y", "a[0]=x&a[0]=y"), ("expand[0x=a", "expand[]=a"), ("expand[%C2%B2]=a", "expand[]=a")],
)
def test_odd_spellings_of_lists_are_questions_of_their_own(one: str, other: str) -> None:
    assert canonical(parse(one)) != canonical(parse(other))
