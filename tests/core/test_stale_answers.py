"""Where the stale answer comes from while Stripe fails: from any tier that has one which still stands."""

from __future__ import annotations

import json

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter

from stripe_cache import Settings
from stripe_cache.core import drive, protocol
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.directives import NONE
from stripe_cache.core.plan import Plan, Request
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.wiring import build

URL = "https://api.stripe.com/v1/prices/price_1?expand[]=product"
POLICY = {name: {"ttl": 2, "stale_window": 300} for name in ("price", "product")}
BODY = {"id": "price_1", "object": "price", "product": {"id": "prod_1", "object": "product", "name": "old"}}


def tier_called(name: str, clock: FakeClock) -> FaultyTier:
    memory = MemoryTier(1_000_000, clock)
    memory.name = name
    return FaultyTier(memory)


class Reader:
    """Reads one price with its product through the given tiers; Stripe answers while it is `well`."""

    def __init__(self, clock: FakeClock, *tiers: FaultyTier) -> None:
        settings = Settings(namespace="acct_1", memory_max_bytes=0, policy=POLICY)
        self.engine = build(settings, clock=clock, meter=RecordingMeter(), shared=tiers)
        self.well = True

    def plan(self) -> Plan:
        found = self.engine.planner.plan(Request("get", URL, "sk_test_a", "", "", ""))
        assert isinstance(found, Plan)
        return found

    def read(self) -> Answer:
        said = Response(200, {}, json.dumps(BODY).encode()) if self.well else Response(500, {}, b"{}")
        return drive.run(self.engine.reads, self.plan(), NONE, lambda _: said)


def test_redis_alone_keeps_the_stale_window_and_the_records_it_depends_on(clock: FakeClock) -> None:
    reader = Reader(clock, tier_called("redis", clock))
    reader.read()
    reader.well = False
    clock.advance(200)
    assert reader.read().status.detail == "redis; stale-if-error"
    clock.advance(200)
    assert reader.read().http_status == 500


@pytest.mark.parametrize("forgetful", [0, 1])
def test_a_tier_that_lost_its_entry_while_stripe_failed_is_stood_in_for(clock: FakeClock, forgetful: int) -> None:
    tiers = tier_called("redis", clock), tier_called("dynamodb", clock)
    reader = Reader(clock, *tiers)
    reader.read()
    clock.advance(5)

    def call(_: object) -> Response:
        tiers[forgetful].losing = {"read"}
        return Response(500, {}, b"{}")

    answer = drive.run(reader.engine.reads, reader.plan(), NONE, call)
    assert answer.status.detail == f"{tiers[1 - forgetful].name}; stale-if-error"


def test_no_tier_stands_in_with_what_was_invalidated_while_stripe_failed(clock: FakeClock) -> None:
    tiers = tier_called("redis", clock), tier_called("dynamodb", clock)
    reader = Reader(clock, *tiers)
    reader.read()
    clock.advance(5)

    def call(_: object) -> Response:
        for tier in reversed(tiers):
            protocol.invalidate(tier, reader.plan().key.namespace, ["prod_1"])
        return Response(500, {}, b"{}")

    assert drive.run(reader.engine.reads, reader.plan(), NONE, call).http_status == 500
