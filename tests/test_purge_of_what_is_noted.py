"""A purge leaves the customer's id in no note of the cache's own: not in the outbox, not in what is hot."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import boto3

from stripe_cache.core.clock import SystemClock
from stripe_cache.core.outbox import Missed
from stripe_cache.core.purge import OUT_OF_REACH
from stripe_cache.tiers.outbox_dynamodb import DynamoDBOutbox

if TYPE_CHECKING:
    import pytest
    import redis
    from world import World


def _table_names(world: World, cus: str) -> list[str]:
    items = boto3.client("dynamodb").scan(TableName=world.table, ConsistentRead=True)["Items"]
    return [item["pk"]["S"] for item in items if cus in str(item)]


def _put_down(world: World, cus: str, *tiers: str) -> None:
    outbox = DynamoDBOutbox(lambda: boto3.client("dynamodb"), world.table, SystemClock())
    outbox.put(Missed(world.namespace, (f"/v1/customers/{cus}/sources", cus), tiers))


def test_what_a_tier_missed_is_replayed_and_then_gone(world: World) -> None:
    cus, other = world.seed(2)["customers"][:2]
    cache = world.cache()
    cache.get(f"/v1/customers/{cus}", api_key=world.key())
    _put_down(world, cus, "redis")
    _put_down(world, other, "redis")
    dry = cache.purge(cus, dry_run=True)
    assert dry.tiers["outbox"].voided == 2
    assert _table_names(world, cus)
    report = cache.purge(cus)
    assert report.is_complete
    assert report.tiers["outbox"].forgotten == 2
    assert _table_names(world, cus) == []


def test_what_cannot_be_told_stays_and_the_purge_is_not_complete(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cus = world.seed(1)["customers"][0]
    cache = world.cache()
    _put_down(world, cus, "redis")
    monkeypatch.setattr(type(cache.engine.invalidator), "replay", lambda *_: False)
    report = cache.purge(cus)
    assert not report.is_complete
    assert report.tiers["outbox"].busy == 2
    assert _table_names(world, cus)


def test_notes_of_what_is_hot_are_deleted_and_those_of_others_stay(
    world: World, raw_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        cus, other = world.seed(2)["customers"][:2]
        cache = world.cache("redis", refresh_queue_url="http://127.0.0.1/1/q", refresh_hot=True)
        for one in (cus, other):
            for _ in range(6):
                cache.get(f"/v1/customers/{one}", api_key=world.key())
        # One that is not the customer's by its name, but was read below the customer.
        raw_redis.hset(
            f"sc1:{{{world.namespace}|#hot}}card_1", "v", f'{{"refresh": "/v1/customers/{cus}/sources/card_1"}}'
        )
        hot = f"sc1:{{{world.namespace}|#hot}}"
        assert raw_redis.exists(f"{hot}{cus}", f"{hot}{other}") == 2
        assert cache.purge(cus).is_complete
        assert raw_redis.exists(f"{hot}{cus}", f"{hot}card_1") == 0
        assert raw_redis.exists(f"{hot}{other}") == 1


def test_queues_are_named_among_what_no_purge_reaches() -> None:
    assert any("queues" in line for line in OUT_OF_REACH)
