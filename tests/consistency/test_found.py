"""What attacking the protocol has found, each as the story that showed it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import redis
from consistency.faulty import SetClock

from stripe_cache import Settings
from stripe_cache.core import directives
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.debts import Debts
from stripe_cache.core.entry import Entry, Stored
from stripe_cache.core.errors import TierError
from stripe_cache.core.key import Key
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.ports import NO_HOLD, HoldChange, NullMeter, StoreOutcome
from stripe_cache.core.steps import Ticket
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.valkey import Valkey

NAMESPACE = "acct_1.test"
URL = "https://api.stripe.com/v1/customers/cus_1"
KEY = Key.of(NAMESPACE, "cus_1", "v")
STORED = Stored(Entry(200, (), b"{}", 0.0, 1e9, 1e9))


class BreakingConnection:
    """A client whose connection breaks once, after the server has done what was asked and before it could say so."""

    def __init__(self, url: str, *, meanwhile: Any) -> None:
        self._client = redis.Redis.from_url(url)
        self._meanwhile = meanwhile
        self.armed = False

    def execute_command(self, *args: Any, **options: Any) -> Any:
        reply = self._client.execute_command(*args, **options)
        if self.armed:
            self.armed = False
            self._meanwhile()
            raise redis.ConnectionError("broken")
        return reply

    def pipeline(self, *, transaction: bool) -> Any:
        return self._client.pipeline(transaction=transaction)

    def close(self) -> None:
        self._client.close()


def test_an_invalidation_sent_again_does_not_bring_back_its_own_generation(valkey: Valkey) -> None:
    client = redis.Redis.from_url(valkey.url)
    other = RedisTier(lambda: client, NullMeter())
    leased: list[str] = []

    def meanwhile() -> None:
        (state,), _ = other.touch(NAMESPACE, ["cus_1"], "reader", 60)
        leased.append(state.generation)
        assert other.void(NAMESPACE, ["cus_1"], "second", NO_HOLD) == ["cus_1"]

    breaking = BreakingConnection(valkey.url, meanwhile=meanwhile)
    tier = RedisTier(lambda: breaking, NullMeter())
    tier.touch(NAMESPACE, ["cus_1"], "before", 60)
    breaking.armed = True
    # Nothing to settle: the first try may still arrive, and would stand under a number from before it.
    assert tier.void(NAMESPACE, ["cus_1"], "first", NO_HOLD) == []
    assert leased == ["first"]
    assert tier.store(KEY, leased[0], STORED, 60) is StoreOutcome.REFUSED
    breaking.close()
    client.close()


def test_who_finds_the_slot_filled_under_its_own_claim_does_not_make_others_ask(valkey: Valkey) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        chosen = Settings(namespace="acct_1", events=True)
        one, other, filler = (
            build(chosen, clock=SystemClock(), shared=(RedisTier(lambda: client, NullMeter()),)) for _ in range(3)
        )
        plan = one.planner.plan(Request("get", f"{URL}9", "sk_test_a", "", "", "2026-10-28.endive"))
        assert isinstance(plan, Plan)
        (first,), (second,) = (engine.reads.look([plan], directives.NONE) for engine in (one, other))
        ticket = filler.reads.begin(plan, directives.NONE)
        assert isinstance(ticket, Ticket)
        filler.reads.complete(ticket, Response(200, {}, b'{"id": "cus_19", "object": "customer"}'))
        assert not isinstance(first, Answer)
        assert not isinstance(second, Answer)
        assert isinstance(one.reads.embark(first, directives.NONE), Answer)
        assert isinstance(other.reads.embark(second, directives.NONE), Answer)


class SlowToVoid(MemoryTier):
    """A shared tier whose void waits until it is let go."""

    name = "redis"

    def __init__(self) -> None:
        super().__init__(1 << 20, SystemClock())
        self.asked, self.go = threading.Event(), threading.Event()

    def void(self, namespace: str, records: Sequence[str], token: str, change: HoldChange) -> list[str]:
        self.asked.set()
        assert self.go.wait(10)
        return super().void(namespace, records, token, change)


def test_while_one_thread_pays_a_debt_another_does_not_read_from_the_tier() -> None:
    tier, debts = SlowToVoid(), Debts()
    debts.add(tier, NAMESPACE, ["cus_1"])
    seen: list[Sequence[Any]] = []
    payer = threading.Thread(target=lambda: seen.append(debts.trusted((tier,))))
    payer.start()
    assert tier.asked.wait(10)
    reader = threading.Thread(target=lambda: seen.append(debts.trusted((tier,))))
    reader.start()
    reader.join(0.2)
    assert seen == [], "the tier still holds what it was not told about"
    tier.go.set()
    payer.join(10)
    reader.join(10)
    assert seen == [[tier], [tier]]
    assert debts.owed(tier) == 0


def test_a_debt_made_while_another_is_paid_still_stands() -> None:
    tier, debts = SlowToVoid(), Debts()
    debts.add(tier, NAMESPACE, ["cus_1"])
    seen: list[Sequence[Any]] = []
    payer = threading.Thread(target=lambda: seen.append(debts.trusted((tier,))))
    payer.start()
    assert tier.asked.wait(10)
    debts.add(tier, NAMESPACE, ["cus_1", "cus_2"])
    tier.go.set()
    payer.join(10)
    assert seen == [[]]
    assert debts.owed(tier) == 2


class Unreachable(MemoryTier):
    name = "dynamodb"
    is_down = True

    def void(self, namespace: str, records: Sequence[str], token: str, change: HoldChange) -> list[str]:
        if self.is_down:
            raise TierError("down")
        return super().void(namespace, records, token, change)


def test_a_tier_above_one_that_owes_is_neither_paid_nor_read() -> None:
    clock = SystemClock()
    below, above, debts = Unreachable(1 << 20, clock), MemoryTier(1 << 20, clock), Debts()
    for tier in (below, above):
        debts.add(tier, NAMESPACE, ["cus_1"])
    assert debts.trusted((above, below)) == []
    assert debts.owed(above) == 1
    below.is_down = False
    assert debts.trusted((above, below)) == [above, below]
    assert debts.owed(above) == 0


class SharedMemory(MemoryTier):
    """A tier that two engines of this test share."""

    name = "dynamodb"


def test_a_stale_copy_invalidated_during_a_failing_origin_call_does_not_stand_in_for_it() -> None:
    clock = SetClock(time.time())
    shared = SharedMemory(1 << 20, clock)
    chosen = Settings(namespace="acct_1", events=True)
    one, other = (build(chosen, clock=clock, shared=(shared,)) for _ in range(2))
    plan = one.planner.plan(Request("get", URL, "sk_test_a", "", "", "2026-10-28.endive"))
    assert isinstance(plan, Plan)
    ticket = other.reads.begin(plan, directives.NONE)
    assert isinstance(ticket, Ticket)
    other.reads.complete(ticket, Response(200, {}, b'{"id": "cus_1", "object": "customer"}'))
    # An entry lives up to a tenth less than its TTL: this one says how long.
    fresh = other.reads.begin(plan, directives.NONE)
    assert isinstance(fresh, Answer)
    assert fresh.status.ttl is not None
    _pass(clock, fresh.status.ttl - 1)
    for tier in ("dynamodb", "memory"):
        answer = one.reads.begin(plan, directives.NONE)
        assert isinstance(answer, Answer)
        assert answer.status.tier == tier
    _pass(clock, 3)
    shared._records.clear()
    for told, status in ((False, 200), (True, 500)):
        ticket = one.reads.begin(plan, directives.NONE)
        assert isinstance(ticket, Ticket)
        if told:
            other.invalidate(["cus_1"])
            _pass(clock, chosen.memory_max_lag)
        assert one.reads.complete(ticket, Response(500, {}, b"{}")).http_status == status


def _pass(clock: SetClock, seconds: float) -> None:
    clock.wall += seconds
    clock.elapsed += seconds
