"""A claim is over once its value is stored: whoever cannot use that value must not wait for the holder."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from stripe_cache.core import protocol
from stripe_cache.core.entry import Entry, Stored
from stripe_cache.core.key import Key
from stripe_cache.core.ports import Claim, StoreOutcome
from stripe_cache.tiers.dynamodb import DynamoDBTier
from stripe_cache.tiers.dynamodb_connection import connect as connect_dynamodb
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.tiers.redis_connection import connect as connect_redis
from stripe_cache.tiers.redis_url import parse

if TYPE_CHECKING:
    from fakes import FakeClock, RecordingMeter

    from local.valkey import Valkey
    from stripe_cache.core.ports import Tier

ENTRY = Entry(200, (), b"{}", 0.0, 1.0, 1.0)


@pytest.fixture(params=["redis", "dynamodb"])
def tier(request: pytest.FixtureRequest, valkey: Valkey, table: str, clock: FakeClock, meter: RecordingMeter) -> Tier:
    if request.param == "redis":
        return RedisTier(partial(connect_redis, parse(valkey.url), 20.0), meter)
    request.getfixturevalue("aws")
    return DynamoDBTier(partial(connect_dynamodb, 20.0), table, clock, meter)


def test_a_stored_value_ends_the_claim_for_its_slot_and_no_other(tier: Tier, namespace: str) -> None:
    one, other = Key.of(namespace, "cus_1", "one"), Key.of(namespace, "cus_1", "other")
    (state,), _ = tier.touch(namespace, ["cus_1"], protocol.new_token(), 60)
    for key in (one, other):
        assert tier.claim(key, state.generation, "holder", 60) is Claim.MINE
    assert tier.store(one, state.generation, Stored(ENTRY), 60) is StoreOutcome.STORED
    # The value may be unreadable to a process with another encryption key, or embed what was voided just after.
    assert tier.claim(one, state.generation, "somebody else", 60) is Claim.MINE
    assert tier.claim(other, state.generation, "somebody else", 60) is Claim.TAKEN


@pytest.mark.usefixtures("aws")
def test_a_claim_refused_just_before_its_holder_stored_asks_to_look_again(
    table: str, clock: FakeClock, meter: RecordingMeter, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to ask the origin: the value is there."""
    tier = DynamoDBTier(partial(connect_dynamodb, 20.0), table, clock, meter)
    key = Key.of(namespace, "cus_1", "one")
    (state,), _ = tier.touch(namespace, ["cus_1"], protocol.new_token(), 60)
    assert tier.claim(key, state.generation, "holder", 60) is Claim.MINE
    read = tier._table.get

    def after_the_store(*arguments: Any) -> Any:
        assert tier.store(key, state.generation, Stored(ENTRY), 60) is StoreOutcome.STORED
        return read(*arguments)

    monkeypatch.setattr(tier._table, "get", after_the_store)
    assert tier.claim(key, state.generation, "somebody else", 60) is Claim.TAKEN
