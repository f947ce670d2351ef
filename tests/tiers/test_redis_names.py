"""The names of all records in a real Redis, and what a replay of everything makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from stripe_cache.core.debts import Debts
from stripe_cache.core.descent import Tiers
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.core.near import Near, Witness
from stripe_cache.core.outbox import Missed
from stripe_cache.core.ports import NullMeter
from stripe_cache.core.replay import Replayer
from stripe_cache.tiers.dynamodb_connection import connect
from stripe_cache.tiers.outbox_dynamodb import DynamoDBOutbox
from stripe_cache.tiers.redis import RedisTier, record_key
from stripe_cache.tiers.redis_names import redis_names

if TYPE_CHECKING:
    from fakes import FakeClock

    from local.valkey import Valkey


def test_all_names_of_a_namespace_are_listed_and_no_others(
    valkey: Valkey, raw_redis: redis.Redis, namespace: str
) -> None:
    names = {f"cus_{number}" for number in range(1200)} | {"/v1/customers?*", "/v1/subscriptions?customer=cus_1"}
    for name in names:
        raw_redis.hset(f"sc1:{{{namespace}|{name}}}", "g", "x")
    for other in (f"sc1:{{{namespace}|#}}", f"sc1:{{{namespace}|#seen}}evt_1", f"sc1:{{other{namespace}|cus_x}}"):
        raw_redis.set(other, "x")
    listed = redis_names(lambda: redis.Redis.from_url(valkey.url, protocol=2))(namespace)
    assert {name for page in listed for name in page} == names


@pytest.mark.usefixtures("aws")
def test_everything_that_is_told_reaches_the_memories_of_what_redis_has_evicted(
    table: str, valkey: Valkey, namespace: str, clock: FakeClock
) -> None:
    meter, client = NullMeter(), redis.Redis.from_url(valkey.url, protocol=2)
    tier, outbox = RedisTier(lambda: client, meter), DynamoDBOutbox(lambda: connect(20.0), table, clock)
    (state,), counter = tier.touch(namespace, ["cus_1"], "g", 60)
    copy, near = Witness(tier, {"cus_1": state.generation}, (counter.epoch, counter.finished)), Near(1.0, clock)
    assert near.is_current(namespace, copy)
    outbox.put(Missed(namespace, (), ("redis",)))
    client.delete(record_key(namespace, "cus_1"))
    invalidator = Invalidator(Tiers(None, (tier,)), Debts(), meter)
    assert Replayer(outbox, invalidator, {"redis": redis_names(lambda: client)}, meter).run(namespace).confirmed == 1
    clock.advance(1.0)
    assert not near.is_current(namespace, copy)
