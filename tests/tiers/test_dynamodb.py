from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from claim_contract import ClaimContract
from fakes import key_of, stored_of
from tier_contract import HOUR, WRAPPERS, Bench, ByteTierContract

from stripe_cache.core.errors import TableError, TierError
from stripe_cache.core.ports import NO_HOLD, HoldChange, Slot, StoreOutcome
from stripe_cache.tiers.dynamodb import MAX_ITEM_BYTES, DynamoDBTier
from stripe_cache.tiers.dynamodb_connection import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fakes import FakeClock, RecordingMeter
    from mypy_boto3_dynamodb import DynamoDBClient

    from local.dynamodb import DynamoDB

DATA_PLANE = {"GetItem", "BatchGetItem", "UpdateItem"}


def noise(size: int, seed: int = 0) -> bytes:
    """Make bytes that no compression shrinks."""
    return random.Random(seed).randbytes(size)  # noqa: S311 (the same bytes in every run)


@pytest.fixture
def raw(dynamodb: DynamoDB) -> Iterator[DynamoDBClient]:
    client = dynamodb.client(timeout=20.0)
    yield client
    client.close()


Asked = list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def connected(dynamodb: DynamoDB) -> Iterator[tuple[Any, Asked]]:
    """One boto3 client as the runtime makes it, and every call made through it: operation and parameters."""
    asked: Asked = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in dynamodb.environment().items():
            patch.setenv(name, value)
        client = connect(20.0)
    client.meta.events.register(
        "provide-client-params.dynamodb.*", lambda params, model, **_: asked.append((model.name, params))
    )
    yield client, asked
    client.close()


@pytest.fixture
def asked(connected: tuple[Any, Asked]) -> Iterator[Asked]:
    """Yield the calls of this test; none of them may use the control plane."""
    calls = connected[1]
    calls.clear()
    yield calls
    assert {name for name, _ in calls} <= DATA_PLANE


@pytest.fixture
def make(
    connected: tuple[Any, Asked], asked: Asked, clock: FakeClock, meter: RecordingMeter
) -> Callable[[str], DynamoDBTier]:
    assert asked == []
    return lambda table: DynamoDBTier(lambda: connected[0], table, clock, meter)


@pytest.fixture
def tier(make: Callable[[str], DynamoDBTier], table: str) -> DynamoDBTier:
    return make(table)


def item(raw: DynamoDBClient, table: str, namespace: str, record: str) -> dict[str, Any]:
    """Read an item as it lies in the table."""
    found: dict[str, Any] = raw.get_item(
        TableName=table, Key={"pk": {"S": f"{namespace}|{record}"}}, ConsistentRead=True
    )["Item"]
    return found


def items(raw: DynamoDBClient, table: str, namespace: str) -> list[dict[str, Any]]:
    condition = {":n": {"S": f"{namespace}|"}}
    pages = raw.get_paginator("scan").paginate(
        TableName=table, FilterExpression="begins_with(pk, :n)", ExpressionAttributeValues=condition
    )
    return [found for page in pages for found in page["Items"]]


class TestContract(ClaimContract, ByteTierContract):
    @pytest.fixture(params=WRAPPERS)
    def bench(
        self,
        *,
        request: pytest.FixtureRequest,
        namespace: str,
        clock: FakeClock,
        meter: RecordingMeter,
        tier: DynamoDBTier,
        raw: DynamoDBClient,
        table: str,
        asked: Asked,
    ) -> Iterator[Bench]:
        def where(record: str) -> dict[str, Any]:
            return {"TableName": table, "Key": {"pk": {"S": f"{namespace}|{record}"}}}

        made = Bench(
            tier,
            namespace,
            clock,
            meter,
            lose=lambda record: raw.delete_item(**where(record)),
            plant=lambda key, data: raw.update_item(
                **where(key.record),
                UpdateExpression="SET v.#v = :b",
                ExpressionAttributeNames={"#v": key.variant},
                ExpressionAttributeValues={":b": {"B": data}},
            ),
        )
        yield made.wrapped(request.param)
        # DynamoDB deletes by this attribute: epoch seconds, in the future.
        assert all(int(found["exp"]["N"]) > clock.now() for found in items(raw, table, namespace))
        for name, params in asked:
            assert name != "GetItem" or params["ConsistentRead"] is True
            assert name != "BatchGetItem" or params["RequestItems"][table]["ConsistentRead"] is True


def test_an_item_expires_in_epoch_seconds_and_not_before_the_time_asked_for(
    tier: DynamoDBTier, raw: DynamoDBClient, table: str, namespace: str, clock: FakeClock
) -> None:
    tier.touch(namespace, ["cus_1"], "t", 50.0)
    assert int(item(raw, table, namespace, "cus_1")["exp"]["N"]) >= clock.now() + 50
    tier.store(key_of(namespace), "t", stored_of(), 90_000.0)
    assert int(item(raw, table, namespace, "cus_1")["exp"]["N"]) == clock.now() + 90_000
    tier.void(namespace, ["held"], "t", HoldChange(add="w@9"))
    assert int(item(raw, table, namespace, "held")["exp"]["N"]) >= clock.now() + 900


def test_a_read_of_one_slot_is_one_call_for_that_variant_alone(
    tier: DynamoDBTier, namespace: str, asked: Asked
) -> None:
    tier.read(namespace, [Slot("cus_1", key_of(namespace))])
    ((name, params),) = asked
    assert name == "GetItem"
    assert params["ProjectionExpression"] == "pk, g, v.#v"
    assert params["ExpressionAttributeNames"] == {"#v": "v1"}


def test_many_slots_are_read_in_batches_of_a_hundred(tier: DynamoDBTier, namespace: str, asked: Asked) -> None:
    tier.read(namespace, [Slot(f"cus_{number}") for number in range(201)])
    assert [name for name, _ in asked] == ["BatchGetItem"] * 3


def test_touching_a_record_that_lives_long_enough_writes_nothing(
    tier: DynamoDBTier, namespace: str, asked: Asked
) -> None:
    tier.touch(namespace, ["cus_1"], "t", HOUR)
    tier.count(namespace)
    asked.clear()
    tier.touch(namespace, ["cus_1"], "t", HOUR)
    assert [name for name, _ in asked] == ["GetItem", "GetItem"]


def test_a_value_over_the_item_limit_is_too_large_and_nothing_is_sent(
    tier: DynamoDBTier, namespace: str, asked: Asked
) -> None:
    tier.touch(namespace, ["cus_1"], "t", HOUR)
    asked.clear()
    outcome = tier.store(key_of(namespace), "t", stored_of(noise(MAX_ITEM_BYTES)), HOUR)
    assert outcome is StoreOutcome.TOO_LARGE
    assert asked == []


def test_a_large_body_that_compresses_well_is_stored(tier: DynamoDBTier, namespace: str) -> None:
    tier.touch(namespace, ["cus_1"], "t", HOUR)
    value = stored_of(b'{"id": "cus_1"}' * 60_000)
    assert tier.store(key_of(namespace), "t", value, HOUR) is StoreOutcome.STORED
    assert tier.read(namespace, [Slot("cus_1", key_of(namespace))])[0].stored == value


def test_siblings_that_leave_no_room_leave_the_item(tier: DynamoDBTier, namespace: str) -> None:
    tier.touch(namespace, ["cus_1"], "t", HOUR)
    for number in range(3):
        value = stored_of(noise(180_000, number))
        assert tier.store(key_of(namespace, variant=f"v{number}"), "t", value, HOUR) is StoreOutcome.STORED
    held = [
        tier.read(namespace, [Slot("cus_1", key_of(namespace, variant=f"v{number}"))])[0].stored is not None
        for number in range(3)
    ]
    assert held == [False, False, True]


def test_siblings_stay_when_the_record_was_voided_before_the_fill_that_has_no_room(
    tier: DynamoDBTier, namespace: str
) -> None:
    tier.touch(namespace, ["cus_1"], "t", HOUR)
    tier.void(namespace, ["cus_1"], "t2", NO_HOLD)
    for number in range(2):
        tier.store(key_of(namespace, variant=f"v{number}"), "t2", stored_of(noise(180_000, number)), HOUR)
    late = stored_of(noise(180_000, 9))
    assert tier.store(key_of(namespace, variant="late"), "t", late, HOUR) is StoreOutcome.REFUSED
    assert tier.read(namespace, [Slot("cus_1", key_of(namespace, variant="v1"))])[0].stored is not None


def test_a_missing_table_is_named_with_the_remedy(make: Callable[[str], DynamoDBTier]) -> None:
    tier = make("no-such-table")
    with pytest.raises(TableError, match=r"'no-such-table'.*deploy.*STRIPE_CACHE_TABLE"):
        tier.read("n", [Slot("cus_1")])
    with pytest.raises(TableError, match="no-such-table"):
        tier.void("n", ["cus_1"], "t", NO_HOLD)


@pytest.mark.parametrize("sort_key", [False, True])
def test_a_table_with_other_keys_is_named_with_the_ones_it_needs(
    make: Callable[[str], DynamoDBTier], raw: DynamoDBClient, namespace: str, *, sort_key: bool
) -> None:
    name = f"other-{sort_key}-{namespace}"
    keys = [{"AttributeName": "pk" if sort_key else "id", "KeyType": "HASH"}]
    keys += [{"AttributeName": "sk", "KeyType": "RANGE"}] if sort_key else []
    raw.create_table(
        TableName=name,
        KeySchema=keys,  # type: ignore[arg-type]  # built from parts
        AttributeDefinitions=[{"AttributeName": key["AttributeName"], "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    tier = make(name)
    with pytest.raises(TableError, match=r"not ours.*'pk' \(String\) and no sort key"):
        tier.read("n", [Slot("cus_1", key_of("n"))])
    with pytest.raises(TableError, match="not ours"):
        tier.count("n", started=1)
    raw.delete_table(TableName=name)


def test_keys_that_a_throttled_table_left_unread_do_not_pass_for_absent(
    tier: DynamoDBTier, namespace: str, table: str
) -> None:
    """DynamoDB Local never throttles, so the answer is changed on its way in, by botocore's own hook."""
    records = ["cus_1", "cus_2"]
    tier.touch(namespace, records, "t", HOUR)

    def throttle(parsed: dict[str, Any], **_: Any) -> None:
        rest = parsed["Responses"][table].pop()
        parsed["UnprocessedKeys"] = {table: {"Keys": [{"pk": rest["pk"]}]}}

    hook = ("after-call.dynamodb.BatchGetItem", throttle)
    tier._table._client().meta.events.register(*hook)
    try:
        with pytest.raises(TierError, match="throttled"):
            tier.read(namespace, [Slot(record) for record in records])
        with pytest.raises(TierError, match="throttled"):
            tier.touch(namespace, records, "t", HOUR)
    finally:
        tier._table._client().meta.events.unregister(*hook)


def test_nobody_listening_is_an_error_of_the_tier(
    clock: FakeClock, meter: RecordingMeter, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del aws
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    tier = DynamoDBTier(lambda: connect(20.0), "some-table", clock, meter)
    with pytest.raises(TierError, match=r"dynamodb: EndpointConnectionError"):
        tier.read("n", [Slot("cus_1")])
    tier._table._client().close()
