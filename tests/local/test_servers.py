from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import boto3
import botocore.exceptions
import pytest
import redis

from local.dynamodb import DynamoDB
from local.ports import accepts, free_port, wait_until_closed
from local.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[DynamoDB]:
    with DynamoDB() as server:
        yield server


def test_a_free_port_can_be_bound_and_is_then_seen_open() -> None:
    port = free_port()
    assert not accepts(port)
    with socket.create_server(("127.0.0.1", port)):
        assert accepts(port)
    assert wait_until_closed(port)


def test_valkey_answers_on_loopback_only_and_bounds_its_memory(assert_loopback_only: Callable[[int], None]) -> None:
    with Valkey(maxmemory="2mb") as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        assert_loopback_only(server.port)
        assert client.config_get("maxmemory*")["maxmemory-policy"] == "volatile-lru"
        for number in range(40):
            client.set(f"key:{number}", bytes(100_000), ex=100)
        assert 0 < client.dbsize() < 40


def test_a_frozen_valkey_hangs_and_answers_again_when_thawed() -> None:
    with Valkey() as server, redis.Redis.from_url(server.url, socket_timeout=0.1, retry=None) as client:
        server.freeze()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.thaw()
        assert client.ping()


def test_a_stopped_valkey_leaves_no_process_and_no_open_port(process_gone: Callable[[int], bool]) -> None:
    server = Valkey()
    server.stop()
    assert process_gone(server.process.pid)
    assert not accepts(server.port)


def test_dynamodb_listens_on_loopback_only(dynamodb: DynamoDB, assert_loopback_only: Callable[[int], None]) -> None:
    assert_loopback_only(dynamodb.port)


def test_dynamodb_keeps_items_in_a_table_with_the_keys_of_the_runtime(dynamodb: DynamoDB) -> None:
    client = dynamodb.client()
    table = dynamodb.create_table()
    client.put_item(TableName=table, Item={"pk": {"S": "a"}, "exp": {"N": "1"}})
    assert client.get_item(TableName=table, Key={"pk": {"S": "a"}}, ConsistentRead=True)["Item"]["exp"] == {"N": "1"}
    assert client.describe_table(TableName=table)["Table"]["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    ttl = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "exp"}
    client.close()


def test_the_environment_leads_boto3_to_the_local_server(dynamodb: DynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in dynamodb.environment().items():
        monkeypatch.setenv(name, value)
    table = dynamodb.create_table("named-table")
    client = boto3.Session().client("dynamodb")
    assert table in client.list_tables()["TableNames"]
    client.close()


def test_a_frozen_dynamodb_times_out_and_answers_again_when_thawed(dynamodb: DynamoDB) -> None:
    client = dynamodb.client(timeout=0.2)
    dynamodb.freeze()
    try:
        with pytest.raises((botocore.exceptions.ReadTimeoutError, botocore.exceptions.ConnectTimeoutError)):
            client.list_tables()
    finally:
        dynamodb.thaw()
    client.close()
    patient = dynamodb.client(timeout=5)
    assert "TableNames" in patient.list_tables()
    patient.close()


def test_a_stopped_dynamodb_leaves_no_process(process_gone: Callable[[int], bool]) -> None:
    with DynamoDB() as server:
        pid = server.process.pid
    assert process_gone(pid)
    assert not accepts(server.port)
