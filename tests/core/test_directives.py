from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_cache.core.directives import NONE, Directives, parse, reacting
from stripe_cache.core.errors import RequestError


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", NONE),
        ("no-cache", Directives(no_cache=True)),
        (" No-Store ,only-if-cached", Directives(no_store=True, only_if_cached=True)),
        ("max-age=60", Directives(max_age=60)),
        ('max-age="60"', Directives(max_age=60)),
        ("max-stale", Directives(max_stale=math.inf)),
        ("max-stale=30, max-age=0", Directives(max_stale=30, max_age=0)),
        ("no-transform, min-fresh=5, x=y", NONE),
    ],
)
def test_the_words_of_the_rfc_are_read(header: str, expected: Directives) -> None:
    assert parse(header) == expected


@pytest.mark.parametrize("header", ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-stale=soon", "max-age=٣"])
def test_an_impossible_argument_is_named_with_the_remedy(header: str) -> None:
    with pytest.raises(RequestError, match=r"needs whole seconds, such as max-age=60"):
        parse(header)


@given(st.text())
def test_any_other_text_is_read_or_refused_and_nothing_else(header: str) -> None:
    try:
        assert isinstance(parse(header), Directives)
    except RequestError as error:
        assert "whole seconds" in str(error)  # noqa: PT017 (either outcome is right)


def test_reacting_to_a_change_asks_the_origin_unless_storing_is_forbidden() -> None:
    assert reacting(Directives(max_age=5)) == Directives(no_cache=True, max_age=5)
    assert reacting(Directives(no_store=True)) == Directives(no_store=True)
