"""What callers filter by may be an e-mail address: no error of ours says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stripe_cache import RequestError
from stripe_cache.core.errors import InvalidationError

if TYPE_CHECKING:
    from world import World


@pytest.mark.parametrize(
    ("path", "directive"),
    [
        ("v1/customers?email=bob%40corp.io", ""),
        ("/v1/customers?email=bob corp", ""),
        ("https://example.com/v1/customers?email=bob%40corp.io", ""),
        ("/v1/charges?customer=bob@corp.io", "only-if-cached"),
        ("/v1/customers?email=bob%40corp.io", "only-if-cached"),
    ],
)
def test_a_request_that_cannot_be_answered_is_named_without_its_query(world: World, path: str, directive: str) -> None:
    with pytest.raises(RequestError) as caught:
        world.cache("redis").get(path, api_key=world.key(), cache_control=directive)
    assert "bob" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["cus_1?email=bob@corp.io", "/v1/nothing?email=bob@corp.io", "/v1/x|?email=bob@corp.io"]
)
def test_so_is_a_name_that_cannot_be_voided(world: World, name: str) -> None:
    with pytest.raises(RequestError) as caught:
        world.cache("redis").invalidate(name)
    assert "bob" not in str(caught.value)


def test_and_a_record_that_a_tier_could_not_be_told() -> None:
    error = InvalidationError(("/v1/charges?customer=bob@corp.io",), {}, {"redis": "away"})
    assert "/v1/charges in every tier" in str(error)
    assert error.records == ("/v1/charges?customer=bob@corp.io",)
