"""What takes long to make is made while nobody waits, and a process that did so has it when Redis dies."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from stripe_cache import Settings
from stripe_cache.clients_wiring import Clients

if TYPE_CHECKING:
    import pytest
    from world import World

PROGRAM = """
import json, os, sys
from stripe_cache import Settings, StripeCache
given = json.loads(sys.argv[1])
cache = StripeCache(Settings(**given["settings"]))
hit = str(cache.get(given["path"], api_key=given["key"]).status)
before = "boto3" in sys.modules
cache.warm()
import botocore.session
botocore.session.Session.create_client = None  # no other client can be made from here on
import redis
redis.Redis.from_url(given["settings"]["redis_url"]).delete(given["redis_key"])
again = str(cache.get(given["path"], api_key=given["key"]).status)
print(json.dumps([hit, before, again]))
"""


def test_a_process_that_only_hit_redis_has_its_client_ready_once_warmed(world: World) -> None:
    cus = world.seed(1)["customers"][0]
    path = f"/v1/customers/{cus}"
    world.cache().get(path, api_key=world.key())
    settings = {
        "namespace": world.account,
        "redis_url": world.valkey.url,
        "table": world.table,
        "api_base": world.fake.url,
        "memory_max_bytes": 0,
        "redis_timeout": 20.0,
        "dynamodb_timeout": 20.0,
    }
    given = json.dumps(
        {"settings": settings, "path": path, "key": world.key(), "redis_key": f"sc1:{{{world.namespace}|{cus}}}"}
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, given], capture_output=True, text=True, timeout=60, check=False
    )
    assert not done.returncode, done.stderr
    hit, had_boto3, again = json.loads(done.stdout)
    assert "hit" in hit
    assert not had_boto3
    assert "hit" in again, "DynamoDB's answer"


def makers(clients: Clients) -> list[Any]:
    return [clients.dynamodb, clients.kms, clients.outbox_queue, clients.refresh_queue]


def test_what_is_not_in_use_is_not_made() -> None:
    clients = Clients(Settings())
    clients.warm()
    assert makers(clients) == [None] * 4
    reader = Settings(namespace="acct_1", read_only=True, invalidation_queue_url="https://sqs.example/outbox")
    assert Clients(reader).outbox_queue is None, "it tells nobody anything"


def test_everything_that_boto3_makes_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    everything = Settings(
        namespace="acct_1",
        table="the-table",
        kms_key="alias/the-key",
        invalidation_queue_url="https://sqs.example/outbox",
        refresh_queue_url="https://sqs.example/refreshes",
    )
    clients = Clients(everything)
    for _ in range(2):
        clients.warm()
    assert [make.cache_info().misses for make in makers(clients)] == [1] * 4
    services = [make().meta.service_model.service_name for make in makers(clients)]
    assert services == ["dynamodb", "kms", "sqs", "sqs"]
