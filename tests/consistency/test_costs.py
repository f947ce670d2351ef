"""What the protocol costs in round trips and capacity units: measured, and held against `docs/consistency.md`."""

from __future__ import annotations

import json
import re
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import redis
from consistency.faulty import SetClock

from stripe_cache import Settings
from stripe_cache.core import directives
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.ports import NullMeter, Tier
from stripe_cache.core.steps import Pause, Ticket
from stripe_cache.core.writing import Write
from stripe_cache.tiers.dynamodb import DynamoDBTier
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.dynamodb import DynamoDB
    from local.valkey import Valkey
    from stripe_cache.core.engine import Engine
    from stripe_cache.core.steps import Step

BASE = "https://api.stripe.com"
CUSTOMER = "/v1/customers/cus_1"
UNSEEN = "/v1/customers/cus_2"
SUBSCRIPTION = "/v1/subscriptions/sub_1?expand[0]=customer"
BODIES: dict[str, dict[str, Any]] = {
    CUSTOMER: {"id": "cus_1", "object": "customer"},
    UNSEEN: {"id": "cus_2", "object": "customer"},
    SUBSCRIPTION: {"id": "sub_1", "object": "subscription", "customer": {"id": "cus_1", "object": "customer"}},
}
PAGE = Path(__file__).parents[2] / "docs" / "consistency.md"


class Cost(NamedTuple):
    """Round trips to Redis, calls to DynamoDB, and the read and write units these took."""

    redis: int
    dynamodb: int
    read_units: float
    write_units: float

    def __str__(self) -> str:
        """Write it as the document's table does."""
        return f"{self.redis} | {self.dynamodb} | {self.read_units:g} | {self.write_units:g}"


class CountingRedis:
    """A Redis client that counts what it sends and waits for."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.trips = 0

    def execute_command(self, *args: Any, **options: Any) -> Any:
        self.trips += 1
        return self._client.execute_command(*args, **options)

    def pipeline(self, *, transaction: bool) -> Any:
        self.trips += 1
        return self._client.pipeline(transaction=transaction)


class Meter:
    """Counts over both clients; DynamoDB says itself, in each answer, what a call consumed."""

    def __init__(self, connection: redis.Redis, dynamodb: Any) -> None:
        self.redis = CountingRedis(connection)
        self._calls = 0
        self._units = {"Get": 0.0, "Upd": 0.0}
        events = dynamodb.meta.events
        events.register("provide-client-params.dynamodb.*", self._ask)
        events.register("after-call.dynamodb.*", self._take)

    def _ask(self, params: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**params, "ReturnConsumedCapacity": "TOTAL"}

    def _take(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        self._calls += 1
        consumed = parsed.get("ConsumedCapacity", [])
        kind = "Upd" if model.name == "UpdateItem" else "Get"
        self._units[kind] += sum(
            one["CapacityUnits"] for one in (consumed if isinstance(consumed, list) else [consumed])
        )

    def cost(self, deed: Callable[[], object]) -> Cost:
        trips, calls, units = self.redis.trips, self._calls, dict(self._units)
        deed()
        read, write = (self._units[kind] - units[kind] for kind in ("Get", "Upd"))
        return Cost(self.redis.trips - trips, self._calls - calls, read, write)


@pytest.fixture(scope="module")
def costs(valkey: Valkey, dynamodb: DynamoDB) -> Iterator[dict[str, Cost]]:
    client, table = dynamodb.client(), dynamodb.create_table()
    with redis.Redis.from_url(valkey.url) as connection:
        meter = Meter(connection, client)

        def engine(*names: str, memory: int = 0) -> Engine:
            clock, null = SetClock(time.time()), NullMeter()
            made: dict[str, Tier] = {
                "redis": RedisTier(lambda: meter.redis, null),
                "dynamodb": DynamoDBTier(lambda: client, table, clock, null),
            }
            chosen = Settings(namespace="acct_costs", memory_max_bytes=memory, events=True)
            return build(chosen, clock=clock, shared=tuple(made[name] for name in names))

        both = engine("redis", "dynamodb")
        # Scripts are loaded and counters made before anything is counted.
        for name in ("prices", "products"):
            _read(both, CUSTOMER)
            both.invalidate(["cus_1", f"/v1/{name}"])
        connection.flushall()
        client.delete_item(TableName=table, Key={"pk": {"S": "acct_costs.test|cus_1"}})
        _read(both, SUBSCRIPTION)
        both.invalidate(["cus_1", "sub_1"])
        found = {"miss and fill, a record never seen": meter.cost(lambda: _read(both, UNSEEN))}
        found["miss and fill"] = meter.cost(lambda: _read(both, CUSTOMER))
        found["miss and fill, one embedded object"] = meter.cost(lambda: _read(both, SUBSCRIPTION))
        found["hit in Redis"] = meter.cost(lambda: _hit(both, CUSTOMER))
        found["hit in Redis, embedded objects"] = meter.cost(lambda: _hit(both, SUBSCRIPTION))
        low = engine("dynamodb")
        found["hit in DynamoDB without Redis"] = meter.cost(lambda: _hit(low, CUSTOMER))
        found["hit in DynamoDB without Redis, embedded objects"] = meter.cost(lambda: _hit(low, SUBSCRIPTION))
        near = engine("redis", "dynamodb", memory=1 << 20)
        _hit(near, CUSTOMER)
        near.near.forget()
        found["hit in memory, the copy's first look"] = meter.cost(lambda: _hit(near, CUSTOMER))
        near.near.forget()
        found["hit in memory, last look older than the lag"] = meter.cost(lambda: _hit(near, CUSTOMER))
        found["hit in memory"] = meter.cost(lambda: _hit(near, CUSTOMER))
        connection.delete("sc1:{acct_costs.test|cus_1}")
        found["hit in DynamoDB, copied to Redis"] = meter.cost(lambda: _hit(both, CUSTOMER))
        found["invalidation of one record"] = meter.cost(lambda: both.invalidate(["cus_1"], livemode=False))
        asked = ("acct_costs.test", "post", f"{BASE}/v1/customers/cus_1", "name=x")
        write = Write(both.invalidator, *asked)
        found["before a write of a customer (3 records)"] = meter.cost(lambda: write.begin(both.clock.now()))
        found["after a write of a customer (3 records)"] = meter.cost(lambda: write.end("{}"))
        # A writer that died long ago.
        Write(both.invalidator, *asked).begin(both.clock.now() - 7200)
        later = Write(both.invalidator, *asked)
        found["the same, each with holds that have ended"] = meter.cost(lambda: later.begin(both.clock.now()))
        later.end("{}")
        for name, one, other in (
            ("a look while another process asks", both, engine("redis", "dynamodb")),
            ("a look while another process asks, without Redis", low, engine("dynamodb")),
        ):
            one.invalidate(["cus_1"], livemode=False)
            asking, waiting = _begin(one, CUSTOMER), _begin(other, CUSTOMER)
            assert isinstance(asking, Ticket)
            assert isinstance(waiting, Pause)
            found[name] = meter.cost(partial(other.reads.resume, waiting))
            one.reads.abandon(asking)
        low.invalidate(["cus_1"], livemode=False)
        found["miss and fill without Redis"] = meter.cost(lambda: _read(low, CUSTOMER))
        yield found | _connected(both, meter, connection, lambda key: client.delete_item(TableName=table, Key=key))
    client.close()


def _connected(
    engine: Engine, meter: Meter, connection: redis.Redis, delete: Callable[[Any], object]
) -> dict[str, Cost]:
    """Measure what is asked and changed on behalf of a connected account."""
    account, record = "acct_connected", "acct_connected.test|cus_1"
    _read(engine, CUSTOMER, account)
    found = {"hit in Redis, for a connected account": meter.cost(lambda: _hit(engine, CUSTOMER, account))}
    connection.delete(f"sc1:{{{record}}}")
    found["hit in DynamoDB, copied to Redis, for a connected account"] = meter.cost(
        lambda: _hit(engine, CUSTOMER, account)
    )
    connection.delete(f"sc1:{{{record}}}")
    delete({"pk": {"S": record}})
    found["miss and fill, a record never seen, for a connected account"] = meter.cost(
        lambda: _read(engine, CUSTOMER, account)
    )
    found["invalidation of one object of a connected account"] = meter.cost(
        lambda: engine.invalidate(["cus_1"], account=account, livemode=False)
    )
    url = f"{BASE}/v1/customers/cus_1"
    places = partial(engine.planner.written, Request("post", url, "sk_test_a", account, "", ""))
    write = Write(engine.invalidator, f"{account}.test", "post", url, "name=x", places=places)
    found["before a write of a connected account's customer (3 records, and 2 of them elsewhere)"] = meter.cost(
        lambda: write.begin(engine.clock.now())
    )
    found["after a write of a connected account's customer (3 records, and 2 of them elsewhere)"] = meter.cost(
        lambda: write.end("{}")
    )
    return found


def _begin(engine: Engine, path: str, account: str = "") -> Step:
    plan = engine.planner.plan(Request("get", BASE + path, "sk_test_a", account, "", "2026-10-28.endive"))
    assert isinstance(plan, Plan)
    return engine.reads.begin(plan, directives.NONE)


def _read(engine: Engine, path: str, account: str = "") -> Answer:
    step = _begin(engine, path, account)
    if isinstance(step, Answer):
        return step
    assert isinstance(step, Ticket)
    return engine.reads.complete(step, Response(200, {}, json.dumps(BODIES[path]).encode()))


def _hit(engine: Engine, path: str, account: str = "") -> None:
    assert _read(engine, path, account).status.hit


def test_a_hit_in_redis_is_one_round_trip_and_with_embedded_objects_two(costs: dict[str, Cost]) -> None:
    assert costs["hit in Redis"] == (1, 0, 0, 0)
    assert costs["hit in Redis, for a connected account"] == (1, 0, 0, 0)
    assert costs["hit in Redis, embedded objects"] == (2, 0, 0, 0)


def test_a_hit_in_memory_asks_nobody_within_the_lag_and_once_after_it(costs: dict[str, Cost]) -> None:
    assert costs["hit in memory"] == (0, 0, 0, 0)
    assert costs["hit in memory, last look older than the lag"] == (1, 0, 0, 0)


def test_the_document_says_what_everything_costs(costs: dict[str, Cost], say: Callable[[object], None]) -> None:
    for name, cost in costs.items():
        say(f"| {name} | {cost} |")
    rows = dict(re.findall(r"^\| ([^|]+?) \| (\d+ \| \d+ \| [\d.]+ \| [\d.]+) \|$", PAGE.read_text(), re.MULTILINE))
    assert rows == {name: str(cost) for name, cost in costs.items()}
