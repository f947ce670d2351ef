from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis
from fakes import key_of, stored_of
from redis.crc import key_slot
from tier_contract import HOUR
from tiers.redis_contract import RedisContract, immortal

from stripe_cache.core import metrics
from stripe_cache.core.errors import TierError
from stripe_cache.core.ports import NO_HOLD, HoldChange, Slot, Stamp
from stripe_cache.tiers.redis import RedisTier, record_key
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_url import parse
from stripe_cache.tiers.redis_wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes import RecordingMeter

    from local.valkey import Valkey


@pytest.fixture
def raw(valkey: Valkey) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(valkey.url, protocol=2)
    yield client
    client.close()


@pytest.fixture
def tier(valkey: Valkey, meter: RecordingMeter) -> RedisTier:
    return RedisTier(lambda: connect(parse(valkey.url), 20.0), meter)


def calls(raw: redis.Redis) -> dict[str, int]:
    stats: dict[str, Any] = raw.info("commandstats")
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}


class TestContract(RedisContract):
    """A single server keeps it."""


def test_every_key_is_made_with_a_time_to_live_and_it_is_the_one_asked_for(
    tier: RedisTier, raw: redis.Redis, namespace: str
) -> None:
    def ttl(record: str) -> int:
        return raw.ttl(record_key(namespace, record))

    tier.touch(namespace, ["touched", "stored", "held"], "t", 50.0)
    assert 45 <= ttl("touched") <= 50
    assert ttl("#") > 86400
    tier.store(key_of(namespace, "stored"), "t", stored_of(), 500.0)
    assert 490 <= ttl("stored") <= 500
    tier.touch(namespace, ["stored"], "t", 50.0)
    assert ttl("stored") >= 490, "a touch never shortens a life"
    tier.touch(namespace, ["touched"], "t", 5000.0)
    assert ttl("touched") >= 4990
    tier.void(namespace, ["held"], "t", HoldChange(add="w@9"))
    assert ttl("held") > 900
    assert immortal(raw, namespace) == []


def test_a_read_is_one_command_and_many_reads_are_one_round_trip(
    tier: RedisTier, raw: redis.Redis, namespace: str
) -> None:
    tier.touch(namespace, ["cus_1"], "t", HOUR)
    before = calls(raw)
    tier.read(namespace, [Slot("cus_1", key_of(namespace))])
    after = calls(raw)
    spent = {name: after[name] - before.get(name, 0) for name in after if name != "info"}
    assert {name: count for name, count in spent.items() if count} == {"hmget": 1}

    sends = []
    wire = tier._connected
    assert isinstance(wire, Wire)
    (connection,) = wire._idle
    send = connection.send_packed_command
    connection.send_packed_command = lambda *given, **options: (sends.append(given), send(*given, **options))
    tier.read(namespace, [Slot(f"cus_{number}", key_of(namespace, f"cus_{number}")) for number in range(30)])
    assert len(sends) == 1


def test_scripts_are_sent_again_after_the_server_has_forgotten_them(
    tier: RedisTier, raw: redis.Redis, namespace: str
) -> None:
    for number in range(3):
        raw.script_flush()
        (state,), counter = tier.touch(namespace, ["cus_1"], f"t{number}", HOUR)
        assert state.generation == "t0"
        raw.script_flush()
        assert tier.count(namespace, started=1).started == counter.started + 1
        raw.script_flush()
        assert tier.store(key_of(namespace), "t0", stored_of(), HOUR).value == "stored"
        raw.script_flush()
        tier.settle(namespace, [("cus_1", "t0")], Stamp("e", 1))
    raw.script_flush()
    assert tier.void(namespace, ["cus_1", "cus_2"], "t9", NO_HOLD) == ["cus_1"]


def test_the_counter_is_read_after_the_generations_even_when_a_script_is_unknown_in_mid_batch(
    tier: RedisTier, raw: redis.Redis, namespace: str
) -> None:
    """The counter's script is known and the touch's is not: answering the batch in part would count too early."""
    raw.script_flush()
    before = tier.count(namespace)
    with raw.monitor() as monitor:
        states, counter = tier.touch(namespace, ["cus_1", "cus_2"], "t", HOUR)
        raw.ping()
        seen = []
        for event in monitor.listen():
            if event["command"].upper() == "PING":
                break
            # What the scripts themselves call, in the order in which it ran.
            if event["client_type"] == "lua" and event["command"].split()[0].upper() in {"HSETNX", "HMGET"}:
                seen.append(event["command"])
    assert [state.generation for state in states] == ["t", "t"]
    assert counter == before
    assert f"{{{namespace}|#}}" in seen[-1]
    touched = [index for index, command in enumerate(seen) if "|cus_" in command]
    last_count = max(index for index, command in enumerate(seen) if command.startswith("HMGET") and "|#}" in command)
    assert max(touched) < last_count


def test_a_record_has_one_slot_in_a_cluster_and_records_spread_over_many() -> None:
    keys = [record_key("acct_1.test", f"cus_{number}") for number in range(200)]
    assert len({key_slot(key.encode()) for key in keys}) > 150
    for key in keys:
        tag = key[key.index("{") + 1 : key.index("}")]
        assert key_slot(key.encode()) == key_slot(tag.encode())


def test_every_script_names_its_one_key(tier: RedisTier, raw: redis.Redis, namespace: str) -> None:
    tier.touch(namespace, ["cus_1"], "t", HOUR)
    with raw.monitor() as monitor:
        tier.void(namespace, ["cus_1", "cus_2"], "t2", HoldChange(add="w@9"))
        tier.store(key_of(namespace), "t2", stored_of(), HOUR)
        raw.ping()
        commands = []
        for event in monitor.listen():
            if event["command"].upper() == "PING":
                break
            commands.append(event)
    scripts = [event["command"] for event in commands if event["command"].upper().startswith("EVAL")]
    assert len(scripts) >= 3
    keys = {record_key(namespace, record) for record in ("cus_1", "cus_2")}
    ran = [event["command"].split() for event in commands if event["client_type"] == "lua"]
    inner = [words[1] for words in ran if words != ["TIME"]]
    assert inner
    assert set(inner) <= keys


def test_a_key_of_another_type_is_absent_counted_and_makes_way(
    tier: RedisTier, raw: redis.Redis, namespace: str, meter: RecordingMeter
) -> None:
    tier.touch(namespace, ["cus_2"], "t2", HOUR)
    raw.set(record_key(namespace, "cus_1"), "somebody else's", ex=100)
    slots = [Slot("cus_1", key_of(namespace)), Slot("cus_2")]
    assert [reading.generation for reading in tier.read(namespace, slots)] == [None, "t2"]
    assert meter.total(metrics.CORRUPT_ENTRY) == 1
    (state,), _ = tier.touch(namespace, ["cus_1"], "t1", HOUR)
    assert state.generation == "t1"


def test_nobody_listening_is_an_error_of_the_tier(meter: RecordingMeter) -> None:
    tier = RedisTier(lambda: connect(parse("redis://127.0.0.1:1/0"), 1.0), meter)
    with pytest.raises(TierError, match="redis"):
        tier.read("n", [Slot("cus_1")])
    with pytest.raises(TierError, match="redis"):
        tier.touch("n", ["cus_1"], "t", HOUR)
