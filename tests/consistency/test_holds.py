"""A hold that one tier has lost and another still has, on real servers: nothing is filled until it ends."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import redis
import stripe
from consistency.faulty import SetClock
from fakes import FaultyTier

from stripe_cache import Settings
from stripe_cache.core import drive
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.directives import NONE
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.ports import NullMeter
from stripe_cache.core.protocol import HOLD_SECONDS
from stripe_cache.core.writing import Write, writing
from stripe_cache.tiers.dynamodb import DynamoDBTier
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.dynamodb import DynamoDB
    from local.valkey import Valkey
    from stripe_cache.core.engine import Engine
    from stripe_cache.core.ports import Tier

BASE = "https://api.stripe.com"
CUSTOMER, SUBSCRIPTION = "/v1/customers/cus_1", "/v1/subscriptions/sub_1?expand[]=customer"
LOSERS = ("redis", "dynamodb")


class Account:
    """Processes over both servers, and a Stripe in which there is one customer."""

    def __init__(self, connection: Any, dynamodb: Any, table: str, namespace: str) -> None:
        self.clock = SetClock(1.8e9)
        self.name = "old"
        self._redis, self._dynamodb, self._table = connection, dynamodb, table
        self._namespace = namespace

    def tiers(self) -> tuple[Tier, Tier]:
        meter = NullMeter()
        below = DynamoDBTier(lambda: self._dynamodb, self._table, self.clock, meter)
        return RedisTier(lambda: self._redis, meter), below

    def process(self, *shared: Tier) -> Engine:
        settings = Settings(namespace=self._namespace, events=True)
        return build(settings, clock=self.clock, shared=shared or self.tiers())

    def read(self, engine: Engine, path: str) -> Answer:
        plan = engine.planner.plan(Request("get", BASE + path, "sk_test_a", "", "", "2026-10-28.endive"))
        assert isinstance(plan, Plan)
        customer = {"id": "cus_1", "object": "customer", "name": self.name}
        body = customer if path == CUSTOMER else {"id": "sub_1", "object": "subscription", "customer": customer}
        return drive.run(engine.reads, plan, NONE, lambda _: Response(200, {}, json.dumps(body).encode()))

    def write_times_out(self) -> None:
        write = Write(self.process().invalidator, f"{self._namespace}.test", "post", BASE + CUSTOMER, "name=new")
        with pytest.raises(stripe.APIConnectionError), writing(write, self.clock):
            raise stripe.APIConnectionError("no answer")  # type: ignore[no-untyped-call]  # the SDK's

    def lose(self, tier: str) -> None:
        name = f"{self._namespace}.test|cus_1"
        if tier == "redis":
            assert self._redis.delete(f"sc1:{{{name}}}") == 1
        else:
            self._dynamodb.delete_item(TableName=self._table, Key={"pk": {"S": name}})


@pytest.fixture
def account(valkey: Valkey, dynamodb: DynamoDB) -> Iterator[Account]:
    client = dynamodb.client()
    namespace = f"acct_{uuid.uuid4().hex[:12]}"
    with redis.Redis.from_url(valkey.url) as connection:
        yield Account(connection, client, dynamodb.create_table(), namespace)
    client.close()


@pytest.mark.parametrize("path", [CUSTOMER, SUBSCRIPTION])
@pytest.mark.parametrize("loser", LOSERS)
def test_what_was_read_before_stripe_performed_a_lost_write_is_served_to_nobody(
    loser: str, path: str, account: Account
) -> None:
    reader = account.process()
    account.write_times_out()
    account.lose(loser)
    for _ in range(2):
        assert not account.read(reader, path).status.hit
    account.name = "new"
    assert b"new" in account.read(account.process(), path).body
    # Not in memory either: nothing vouches for a copy.
    assert b"new" in account.read(reader, path).body


@pytest.mark.parametrize("loser", LOSERS)
def test_after_the_hold_has_ended_it_is_cached_again(loser: str, account: Account) -> None:
    account.write_times_out()
    account.lose(loser)
    account.clock.wall += HOLD_SECONDS + 1
    account.clock.elapsed += HOLD_SECONDS + 1
    account.read(account.process(), CUSTOMER)
    assert account.read(account.process(), CUSTOMER).status.tier == "redis"


def test_while_a_write_is_in_flight_the_tiers_below_are_not_asked(account: Account) -> None:
    account.write_times_out()
    below = FaultyTier(account.tiers()[1])
    assert not account.read(account.process(account.tiers()[0], below), CUSTOMER).status.hit
    assert below.calls == []
