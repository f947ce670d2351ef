from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from world import status_of

from stripe_cache import InvalidationError

if TYPE_CHECKING:
    from world import World

pytestmark = pytest.mark.parametrize("tier", ["redis", "dynamodb"])


def test_a_read_only_process_finds_what_others_filled_and_changes_nothing(world: World, tier: str) -> None:
    first, second = world.seed(customers=2)["customers"]
    world.client(world.cache(tier)).v1.customers.retrieve(first)
    reader = world.client(world.cache(tier, read_only=True))
    for _ in range(2):
        assert "hit; ttl=" in status_of(reader.v1.customers.retrieve(first))
        assert status_of(reader.v1.customers.retrieve(second)) == "stripe-cache; fwd=uri-miss"
    assert world.origin_reads() == 3, "what it fetched was stored nowhere"


def test_its_reads_follow_the_invalidations_of_others(world: World, tier: str) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    writer, reader = world.client(world.cache(tier)), world.client(world.cache(tier, read_only=True))
    writer.v1.customers.retrieve(customer)
    assert reader.v1.customers.retrieve(customer).name != "New"
    writer.v1.customers.update(customer, params={"name": "New"})
    assert reader.v1.customers.retrieve(customer).name == "New"


def test_it_is_told_that_it_cannot_invalidate(world: World, tier: str) -> None:
    with pytest.raises(InvalidationError, match=f"{tier}: this process is read-only"):
        world.cache(tier, read_only=True).invalidate("cus_1")
