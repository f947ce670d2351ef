from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from local.ports import free_port
from stripe_cache.core.seen import SEEN_TTL, Seen
from stripe_cache.tiers.dynamodb_connection import connect
from stripe_cache.tiers.seen_stores import DynamoDBSeen, RedisSeen

if TYPE_CHECKING:
    from fakes import FakeClock

    from stripe_cache.core.seen import SeenStore


@pytest.fixture(params=["redis", "dynamodb"])
def store(request: pytest.FixtureRequest, raw_redis: redis.Redis, table: str, aws: None, clock: FakeClock) -> SeenStore:
    del aws
    if request.param == "redis":
        return RedisSeen(lambda: raw_redis)
    return DynamoDBSeen(lambda: connect(20.0), table, clock)


def test_marks_are_found_by_others_of_the_same_namespace_only(
    store: SeenStore, namespace: str, clock: FakeClock
) -> None:
    one, other = Seen(store, clock), Seen(store, clock)
    one.mark([namespace], ["evt_1", "evt_2"])
    assert other.known([namespace], ["evt_1", "evt_3", "evt_2"]) == {"evt_1", "evt_2"}
    assert other.known([f"x{namespace}"], ["evt_1"]) == set()
    assert other.known([namespace, f"x{namespace}"], ["evt_1"]) == set(), "in every namespace, or it is applied again"
    assert other.known([], ["evt_1"]) == set()
    assert other.known([namespace], []) == set()


def test_more_than_a_batch_of_events_is_asked_for_at_once(store: SeenStore, namespace: str, clock: FakeClock) -> None:
    events = [f"evt_{number}" for number in range(150)]
    Seen(store, clock).mark([namespace], events[:120])
    assert Seen(store, clock).known([namespace], events) == set(events[:120])


def test_marks_end(store: SeenStore, namespace: str, clock: FakeClock, raw_redis: redis.Redis) -> None:
    Seen(store, clock).mark([namespace], ["evt_1"])
    if isinstance(store, RedisSeen):
        assert 0 < raw_redis.ttl(f"sc1:{{{namespace}|#seen}}evt_1") <= SEEN_TTL
        return
    clock.advance(SEEN_TTL - 60)
    assert Seen(store, clock).known([namespace], ["evt_1"]) == {"evt_1"}
    clock.advance(120)
    assert Seen(store, clock).known([namespace], ["evt_1"]) == set()


def test_a_store_that_is_away_knows_nothing_and_is_left_alone(clock: FakeClock) -> None:
    connected: list[redis.Redis] = []

    def client() -> redis.Redis:
        connected.append(redis.Redis(port=free_port()))
        return connected[-1]

    seen = Seen(RedisSeen(client), clock)
    for _ in range(5):
        seen.mark(["a.test"], ["evt_1"])
        assert seen.known(["a.test"], ["evt_1"]) == set()
    assert len(connected) == 1
    assert Seen(None, clock).known(["a.test"], ["evt_1"]) == set()
