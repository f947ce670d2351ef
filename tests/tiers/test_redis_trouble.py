"""Each way in which Redis refuses, from the real server where it can be brought to: handled as what it is."""

from __future__ import annotations

import logging
import time

import pytest
import redis
from fakes import FakeClock, RecordingMeter, key_of, stored_of
from scripted_redis import ScriptedRedis

from local.valkey import Valkey
from stripe_cache.core import metrics, protocol
from stripe_cache.core.errors import ConfigurationError, TierError, TierFullError
from stripe_cache.core.ports import NO_HOLD, HoldChange, NullMeter, Reading, Slot
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_url import parse

TIMEOUT = 5.0
N = "acct_1.test"
MISS = [Reading(None, None)]


def tier_of(url: str, timeout: float = TIMEOUT) -> RedisTier:
    return RedisTier(lambda: connect(parse(url), timeout), NullMeter())


@pytest.fixture
def guard(server: Valkey, clock: FakeClock, meter: RecordingMeter) -> GuardedTier:
    return GuardedTier(tier_of(server.url), 60.0, clock, meter)


def test_a_master_that_was_replaced_is_left_and_its_name_looked_up_again(
    admin: redis.Redis, guard: GuardedTier, clock: FakeClock
) -> None:
    guard.touch(N, ["cus_1"], "t1", 60)
    with Valkey() as successor:
        admin.execute_command("REPLICAOF", successor.host, successor.port)
        before = admin.info("stats")["total_connections_received"]
        with pytest.raises(TierError, match=r"ReadOnlyError|DemotedError"):
            guard.touch(N, ["cus_2"], "t1", 60)
        with pytest.raises(TierError, match=r"ReadOnlyError|DemotedError"):
            guard.void(N, ["cus_1"], "t2", NO_HOLD)
        # A new connection for each try: that is when a name is looked up.
        assert admin.info("stats")["total_connections_received"] > before
        admin.execute_command("REPLICAOF", "NO", "ONE")
    clock.advance(60)
    assert guard.touch(N, ["cus_2"], "t2", 60)[0][0].generation == "t2"


def test_a_full_server_serves_what_it_has_voids_what_it_must_and_is_not_left_alone(
    admin: redis.Redis, guard: GuardedTier, meter: RecordingMeter
) -> None:
    guard.touch(N, ["cus_1"], "t1", 600)
    guard.store(key_of(N), "t1", stored_of(), 600)
    before = guard.count(N)
    admin.config_set("maxmemory-policy", "noeviction")
    admin.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        admin.set("anything", "more")

    for number in range(5):
        with pytest.raises(TierFullError):
            guard.store(key_of(N), "t1", stored_of(b"2"), 600)
        with pytest.raises(TierFullError):
            guard.touch(N, [f"cus_new{number}"], "t1", 600)
    assert not guard.is_open
    assert meter.counts[metrics.TIER_ERROR, "redis"] == 10
    assert guard.read(N, [Slot("cus_1", key_of(N))])[0].stored is not None

    protocol.invalidate(guard, N, ["cus_1", "cus_9"])
    reading = guard.read(N, [Slot("cus_1", key_of(N))])[0]
    assert reading.stored is None
    assert reading.generation not in {None, "t1"}
    assert guard.count(N)[1:] == (before.started + 1, before.finished + 1)
    # A write in flight, on a record that is not there yet, and in a namespace that has no counter.
    assert guard.void(N, ["cus_2"], "t3", HoldChange(add="w@9999999999")) == ["cus_2"]
    protocol.invalidate(guard, "acct_2.test", ["cus_1"], HoldChange(add="w@9999999999"))
    assert guard.read("acct_2.test", [Slot("cus_1")])[0].generation is not None


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("reset on >right ~sc1:* +@all", "correct user and password"),
        ("reset off >wrong", "correct user and password"),
        ("reset on >wrong ~other:* +@all", "lacks a right"),
        ("reset on >wrong ~sc1:* -@all +ping", "lacks a right"),
    ],
)
def test_a_refused_user_is_said_once_an_outage_and_used_again_once_admitted(
    *,
    server: Valkey,
    admin: redis.Redis,
    clock: FakeClock,
    meter: RecordingMeter,
    caplog: pytest.LogCaptureFixture,
    rules: str,
    said: str,
) -> None:
    guard = GuardedTier(tier_of(server.url.replace("redis://", "redis://app:wrong@")), 60.0, clock, meter)
    with caplog.at_level(logging.ERROR, "stripe_cache"):
        for outage in (1, 2):
            admin.execute_command("ACL", "SETUSER", "app", *rules.split())
            admin.execute_command("CLIENT", "KILL", "USER", "app")
            for _ in range(3):
                assert guard.read(N, [Slot("cus_1")]) == MISS
                clock.advance(60)
            messages = [record.message for record in caplog.records]
            assert len(messages) == outage
            assert said in messages[-1]
            assert "wrong" not in messages[-1].replace("WRONGPASS", "")
            admin.execute_command("ACL", "SETUSER", "app", *["reset", "on", ">wrong", "~sc1:*", "+@all"])
            assert guard.touch(N, ["cus_1"], "t1", 60)[0]
            guard.void(N, ["cus_1"], "t2", NO_HOLD)
            assert not guard.is_open
    assert meter.counts[metrics.TIER_ERROR, "redis"] >= 6


def test_a_password_asked_for_and_not_given_is_a_configuration_error(server: Valkey, admin: redis.Redis) -> None:
    admin.config_set("requirepass", "secret")
    with pytest.raises(ConfigurationError, match="correct user and password"):
        tier_of(server.url).read(N, [Slot("cus_1")])


def test_a_server_with_too_many_clients_is_a_failure_that_passes(server: Valkey, admin: redis.Redis) -> None:
    tier = tier_of(server.url)
    admin.ping()
    limit = admin.config_get("maxclients")["maxclients"]
    admin.config_set("maxclients", 1)
    with pytest.raises(TierError, match="redis"):
        tier.read(N, [Slot("cus_1")])
    admin.config_set("maxclients", limit)
    assert tier.read(N, [Slot("cus_1")]) == MISS


@pytest.mark.parametrize(
    "said",
    [
        b"-LOADING Valkey is loading the dataset in memory\r\n",
        b"-MASTERDOWN Link with MASTER is down\r\n",
        b"-BUSY Valkey is busy running a script\r\n",
        b"-ERR max number of clients reached\r\n",
        b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"!nonsense\r\n",
        b"$-7\r\n",
        b"*1\r\n:1\r\n",
        b"+OK\r\n",
    ],
)
def test_what_a_server_says_in_trouble_is_a_miss_and_is_asked_for_once(
    said: bytes, clock: FakeClock, meter: RecordingMeter
) -> None:
    with ScriptedRedis(lambda _: said) as server:
        guard = GuardedTier(tier_of(server.url, 1.0), 60.0, clock, meter)
        assert guard.read(N, [Slot("cus_1")]) == MISS
        assert len(server.batches) == 1
        with pytest.raises(TierError):
            guard.void(N, ["cus_1"], "t", NO_HOLD)
        assert len(server.batches) == 2
        assert guard.is_open
    assert meter.counts[metrics.TIER_ERROR, "redis"] == 2


def test_a_server_that_is_loading_is_not_asked_again_on_the_same_idle_connection() -> None:
    """A connection that worked, and a server that restarted behind the same address: no retry, and no hang."""
    answers = iter([b"*1\r\n$2\r\nt1\r\n", b"-LOADING loading\r\n", b"*1\r\n$2\r\nt2\r\n"])
    with ScriptedRedis(lambda _: next(answers)) as server:
        tier = tier_of(server.url, 1.0)
        assert tier.read(N, [Slot("cus_1")])[0].generation == "t1"
        with pytest.raises(TierError, match="BusyLoadingError"):
            tier.read(N, [Slot("cus_1")])
        assert tier.read(N, [Slot("cus_1")])[0].generation == "t2"
        assert server.connections == 2


def test_a_new_connection_that_breaks_is_not_tried_again() -> None:
    with ScriptedRedis(lambda _: None) as server:
        with pytest.raises(TierError):
            tier_of(server.url, 1.0).read(N, [Slot("cus_1")])
        assert server.connections == 1


def test_an_answer_that_trickles_ends_at_the_deadline() -> None:
    def slowly(_: bytes) -> bytes:
        return b"*1\r\n$100000\r\n"

    with ScriptedRedis(slowly) as server:
        tier = tier_of(server.url, 0.2)
        began = time.monotonic()
        with pytest.raises(TierError, match="TimeoutError"):
            tier.read(N, [Slot("cus_1")])
        assert time.monotonic() - began < 2.0
