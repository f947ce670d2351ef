"""What the runtime asks of Redis, by the users that the constructs make: each may do what its functions need."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis

from stripe_cache.core.errors import TierError
from stripe_cache.core.limiter import Demand
from stripe_cache.core.rate_limits import Bucket
from stripe_cache.tiers.cursor_redis import RedisCursors
from stripe_cache.tiers.heat_redis import RedisHeat
from stripe_cache.tiers.rate_limit_redis import RedisBuckets
from stripe_cache.tiers.redis import record_key
from stripe_cache.tiers.redis_names import redis_names
from stripe_cache.tiers.refresh_locks import RedisLock
from stripe_cache.tiers.seen_stores import RedisSeen
from stripe_cache_cdk.constructs.redis_access import PURGE, READ_ONLY, READ_WRITE, REPLAY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.valkey import Valkey

WRITERS = pytest.mark.parametrize("rules", [READ_WRITE, REPLAY], ids=["writer", "replayer"])


@contextmanager
def connected(valkey: Valkey, rules: str) -> Iterator[Any]:
    """Give a connection of a user with these rights, and take the user away again."""
    name = f"user{uuid.uuid4().hex[:8]}"
    with redis.Redis.from_url(valkey.url, protocol=2) as admin:
        admin.execute_command("ACL", "SETUSER", name, "reset", ">secret", *rules.split())
        try:
            with redis.Redis.from_url(valkey.url.replace("//", f"//{name}:secret@"), protocol=2) as client:
                yield client
        finally:
            admin.execute_command("ACL", "DELUSER", name)


@pytest.fixture
def namespace() -> str:
    return f"acct_{uuid.uuid4().hex[:16]}.test"


@WRITERS
def test_events_are_marked_and_known_again(valkey: Valkey, namespace: str, rules: str) -> None:
    with connected(valkey, rules) as client:
        seen = RedisSeen(lambda: client)
        seen.mark(namespace, ["evt_1", "evt_2"])
        assert seen.known(namespace, ["evt_1", "evt_2", "evt_3"]) == {"evt_1", "evt_2"}


@WRITERS
def test_what_is_hot_is_noted_and_taken(valkey: Valkey, namespace: str, rules: str) -> None:
    with connected(valkey, rules) as client:
        heat = RedisHeat(lambda: client)
        heat.note(namespace, "cus_1", "v", "{}")
        assert heat.take(namespace, ["cus_1", "cus_2"]) == ["{}"]
        assert heat.take(namespace, ["cus_1"]) == []


@WRITERS
def test_limits_locks_and_cursors_work(valkey: Valkey, namespace: str, rules: str) -> None:
    with connected(valkey, rules) as client:
        buckets, bucket = RedisBuckets(lambda: client), Bucket("", 1.0)
        assert buckets.take(Demand(namespace, (bucket,), urgent=False, patience=0.0, reads=1), 0.0).given
        buckets.shrink(namespace, bucket, 0.0)
        buckets.add(namespace, 1, 5)
        assert buckets.by_day(namespace, [1])[1] >= 5
        lock = RedisLock(lambda: client)
        assert [lock.acquire(namespace, "v", 5.0) for _ in range(2)] == [True, False]
        cursors = RedisCursors(lambda: client)
        cursors.save(namespace, "here", 0.0)
        assert cursors.load(namespace) == "here"


@pytest.mark.parametrize(
    "rules", [READ_ONLY, READ_WRITE, PURGE, REPLAY], ids=["reader", "writer", "purger", "replayer"]
)
def test_only_who_replays_or_purges_learns_the_names_of_records(valkey: Valkey, namespace: str, rules: str) -> None:
    with redis.Redis.from_url(valkey.url) as admin:
        admin.hset(record_key(namespace, "cus_1"), "g", "1")
    with connected(valkey, rules) as client:
        names = redis_names(lambda: client)
        if rules in {PURGE, REPLAY}:
            assert list(names(namespace)) == [["cus_1"]]
            return
        with pytest.raises(TierError, match="NoPermission"):
            list(names(namespace))


def test_a_reader_can_neither_mark_nor_note(valkey: Valkey, namespace: str) -> None:
    with connected(valkey, READ_ONLY) as client:
        assert RedisSeen(lambda: client).known(namespace, ["evt_1"]) == set()
        with pytest.raises(TierError, match="NoPermission"):
            RedisSeen(lambda: client).mark(namespace, ["evt_1"])
        with pytest.raises(TierError, match="NoPermission"):
            RedisHeat(lambda: client).note(namespace, "cus_1", "v", "{}")


@pytest.mark.parametrize(
    "rules", [READ_ONLY, READ_WRITE, PURGE, REPLAY], ids=["reader", "writer", "purger", "replayer"]
)
def test_each_user_may_run_the_commands_of_its_functions_and_none_that_harms_others(valkey: Valkey, rules: str) -> None:
    key = "sc1:{main.test|#hot}cus_1"
    writes, lists = rules is not READ_ONLY, rules in {PURGE, REPLAY}
    expected = {
        **dict.fromkeys((("MGET", key), ("GET", key), ("HEXISTS", key, "v"), ("HLEN", key), ("HVALS", key)), True),
        **dict.fromkeys(
            (
                ("SET", key, "1", "NX", "PX", "5"),
                ("HSET", key, "v", "1"),
                ("EXPIRE", key, "5"),
                ("EVAL", "return 1", "1", key),
                ("DEL", key),
            ),
            writes,
        ),
        ("SCAN", "0", "MATCH", "sc1:{main.test|*", "COUNT", "500"): lists,
        **dict.fromkeys(
            (("KEYS", "*"), ("RANDOMKEY",), ("FLUSHDB",), ("CONFIG", "GET", "*"), ("GET", "theirs")), False
        ),
    }
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        client.execute_command("ACL", "SETUSER", "dry", "reset", "nopass", *rules.split())
        try:
            told = {command: client.execute_command("ACL", "DRYRUN", "dry", *command) == "OK" for command in expected}
        finally:
            client.execute_command("ACL", "DELUSER", "dry")
    assert told == expected
