"""Values that somebody else put into Redis or DynamoDB: refused, never served, and no error but the tier's own."""

from __future__ import annotations

import json
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stripe_cache import StripeCache
from stripe_cache.core import protocol
from stripe_cache.core.entry import Entry, Stored
from stripe_cache.core.errors import CorruptEntryError, TierError
from stripe_cache.core.key import Key
from stripe_cache.core.ports import NO_HOLD, Claim, Slot, Stamp
from stripe_cache.tiers import codec
from stripe_cache.tiers.dynamodb import DynamoDBTier
from stripe_cache.tiers.dynamodb_connection import connect as connect_dynamodb
from stripe_cache.tiers.redis import RedisTier, record_key
from stripe_cache.tiers.redis_connection import connect as connect_redis
from stripe_cache.tiers.redis_url import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes import FakeClock, RecordingMeter

    from local.dynamodb import DynamoDB
    from local.valkey import Valkey
    from stripe_cache import Settings
    from stripe_cache.core.ports import Tier

ENTRY = Entry(200, (("date", "today"),), b'{"id": "cus_1"}' * 40, 1.0, 2.0, 3.0, ("sub_1",))
GOOD = codec.encode(Stored(ENTRY, ("g1",)), Key.of("n", "cus_1", "v").binding)
SHARED = hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

hostile_bytes = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [b"", b"\xff\xfe", b"nan", b"-1", b"9" * 5000, b"1e400", b":", b"a:b", b"@", b"x@nan", b"x@inf,y@"]
    ),
    st.sampled_from(["\u0662".encode(), b"a:-5", b"e:" + b"9" * 30, b"x@" + b"9" * 400, b"," * 100, b"+99 x"]),
)


def decodes_or_is_corrupt(raw: bytes) -> Stored | None:
    try:
        return codec.decode(raw, Key.of("n", "cus_1", "v").binding)
    except CorruptEntryError:
        return None


@given(st.binary(max_size=300))
@example(b"SC\x01\x00" + b"\x00" * 58)
@example(GOOD[:61])
def test_any_bytes_are_an_entry_or_corrupt(raw: bytes) -> None:
    assert decodes_or_is_corrupt(raw) is None


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6), st.booleans())
def test_an_altered_entry_is_corrupt_or_at_least_well_formed(changes: list[tuple[int, int]], mended: bool) -> None:  # noqa: FBT001 (hypothesis passes by position)
    altered = bytearray(GOOD)
    for index, value in changes:
        altered[index] = value
    if mended:
        # An attacker recomputes the checksum: it is against accidents only.
        altered[4:8] = zlib.crc32(bytes(altered[8:])).to_bytes(4, "big")
    stored = decodes_or_is_corrupt(bytes(altered))
    if not mended and bytes(altered) != GOOD and altered[:8] == GOOD[:8]:
        assert stored is None
    if stored is not None:
        assert len(stored.generations) == len(stored.entry.embeds)


def test_a_compression_bomb_is_not_inflated() -> None:
    import tracemalloc

    bomb = zlib.compress(b"0" * 200_000_000, 9)
    head = bytearray(GOOD[:62])
    head[50:54] = (1000).to_bytes(4, "big")
    head[54:62] = bytes(8)
    raw = bytes(head) + bomb
    raw = raw[:4] + zlib.crc32(raw[8:]).to_bytes(4, "big") + raw[8:]
    tracemalloc.start()
    assert decodes_or_is_corrupt(raw) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.fixture
def redis_tier(valkey: Valkey, meter: RecordingMeter) -> RedisTier:
    return RedisTier(partial(connect_redis, parse(valkey.url), 20.0), meter)


@pytest.fixture
def table_tier(aws: object, table: str, clock: FakeClock, meter: RecordingMeter) -> DynamoDBTier:
    del aws
    return DynamoDBTier(partial(connect_dynamodb, 20.0), table, clock, meter)


def survive(tier: Tier, namespace: str) -> None:
    """Do everything a tier can do; nothing may be served, and nothing raised but TierError."""
    key = Key.of(namespace, "cus_1", "v")
    for step in (
        lambda: [reading.stored for reading in tier.read(namespace, [Slot("cus_1", key), Slot("cus_1")])],
        lambda: [found for found in protocol.look(tier, [key]) if found],
        lambda: protocol.lease(tier, [key], 1e9),
        lambda: tier.settle(namespace, [("cus_1", "g")], Stamp("e", 1)),
        lambda: tier.claim(key, "g", "token", 5),
        lambda: tier.release(key, "g", "token", 5),
        lambda: tier.count(namespace),
        lambda: tier.count(namespace, started=1),
        lambda: protocol.fill(protocol.Lease(tier, key, "g", tier.count(namespace)), ENTRY, 60, 1e9),
        lambda: tier.void(namespace, ["cus_1"], "token", NO_HOLD),
    ):
        try:
            served = step()  # type: ignore[no-untyped-call]  # a lambda of its own type each
        except TierError:
            continue
        if isinstance(served, list):
            assert not any(isinstance(one, Stored | protocol.Found) for one in served)


@SHARED
@given(
    record=st.dictionaries(st.sampled_from([b"g", b"s", b"h", b"vv", b"cv", b"v", b""]), hostile_bytes, min_size=1),
    counter=st.dictionaries(st.sampled_from([b"e", b"n", b"d"]), hostile_bytes),
)
@example(record={b"g": b"g", b"h": b"x@nan"}, counter={})
@example(record={b"g": b"g", b"s": b"e:\xff"}, counter={b"e": b"\xff", b"n": b"1.5", b"d": b""})
@example(record={b"g": b"\xff\xff", b"vv": GOOD}, counter={b"e": b"e"})
def test_whatever_is_in_a_redis_hash(
    redis_tier: RedisTier, valkey: Valkey, record: dict[bytes, bytes], counter: dict[bytes, bytes]
) -> None:
    namespace = "poison.test"
    client = redis.Redis.from_url(valkey.url)
    for name, fields in (("cus_1", record), ("#", counter)):
        client.delete(record_key(namespace, name))
        if fields:
            client.hset(record_key(namespace, name), mapping=fields)  # type: ignore[arg-type]  # bytes as names
    client.close()
    survive(redis_tier, namespace)


attribute = st.one_of(
    st.sampled_from(
        [
            {"N": "1.5"},
            {"N": "-1"},
            {"N": "1E+30"},
            {"NULL": True},
            {"BOOL": False},
            {"M": {}},
            {"L": [{"S": "x"}]},
            {"SS": ["x@nan"]},
            {"SS": ["x"]},
            {"NS": ["1"]},
            {"M": {"v": {"B": GOOD}}},
            {"M": {"v": {"S": "x"}}},
            {"M": {"v": {"M": {}}}},
        ]
    ),
    st.text(max_size=20).map(lambda text: {"S": text}),
    st.binary(min_size=1, max_size=20).map(lambda raw: {"B": raw}),
)


@SHARED
@given(
    record=st.dictionaries(st.sampled_from(["g", "e", "n", "h", "v", "c"]), attribute),
    counter=st.dictionaries(st.sampled_from(["e", "n", "d"]), attribute),
    ends=attribute,
)
@example(record={"g": {"S": "g"}, "n": {"N": "1.5"}}, counter={"n": {"S": "x"}}, ends={"N": "1"})
def test_whatever_is_in_a_dynamodb_item(
    *,
    table_tier: DynamoDBTier,
    dynamodb: DynamoDB,
    table: str,
    record: dict[str, Any],
    counter: dict[str, Any],
    ends: dict[str, Any],
) -> None:
    client = dynamodb.client(timeout=20)
    for name, attributes in (("cus_1", record), ("#", counter)):
        client.put_item(TableName=table, Item={"pk": {"S": f"poison.test|{name}"}, "exp": ends, **attributes})
    client.close()
    survive(table_tier, "poison.test")


@pytest.mark.parametrize("until", ["9" * 13, "9" * 300])
def test_a_made_up_claim_does_not_make_readers_wait(
    redis_tier: RedisTier, valkey: Valkey, namespace: str, until: str
) -> None:
    client = redis.Redis.from_url(valkey.url)
    client.hset(record_key(namespace, "cus_1"), mapping={"g": "g", "cv": f"+{until} x"})
    client.close()
    assert redis_tier.claim(Key.of(namespace, "cus_1", "v"), "g", "token", 5) is Claim.MINE


def test_a_made_up_claim_in_the_table_does_not_make_readers_wait(table_tier: DynamoDBTier, namespace: str) -> None:
    key = Key.of(namespace, "cus_1", "v")
    (state,), _ = table_tier.touch(namespace, ["cus_1"], "token", 60)
    table_tier.claim(key, state.generation, "x", 10_000_000)
    assert table_tier.claim(key, state.generation, "token", 5) is Claim.MINE


@pytest.mark.parametrize("field", ["g", "s", "h", "everything"])
def test_a_poisoned_record_costs_a_call_to_stripe_and_no_error(
    settings: Callable[..., Settings], fake: Any, valkey: Valkey, field: str
) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    given = settings(table="", memory_max_bytes=0)
    cache = StripeCache(given)
    cache.get(f"/v1/customers/{customer}", api_key="sk_test_a")
    client = redis.Redis.from_url(valkey.url)
    place = record_key(f"{given.namespace}.test", customer)
    for name in client.hkeys(place):
        if field == "everything" or name == field.encode():
            client.hset(place, name, b"\xff\xfe poison")
    if field in {"s", "h"}:
        client.hset(place, field, b"\xff\xfe poison")
    for _ in range(3):
        body = cache.get(f"/v1/customers/{customer}", api_key="sk_test_a").body
        assert json.loads(body)["id"] == customer
    cache.invalidate(customer)
    client.close()
