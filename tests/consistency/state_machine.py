"""The real engine, several processes of it, over a real Valkey and DynamoDB Local, against a model of the truth.

Everything that takes time is taken apart: a read that misses is begun, and finished whenever hypothesis likes; a write
is begun, takes effect, and ends or never does, or takes effect when its process is gone. Hypothesis shrinks a violation
to the few steps that matter.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from consistency.faulty import DEAF, DOWN, WORKS, FaultyTier, SetClock
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule

from stripe_cache import Settings
from stripe_cache.core import directives
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.errors import InvalidationError
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.ports import NullMeter
from stripe_cache.core.protocol import HOLD_SECONDS, SKEW_SECONDS
from stripe_cache.core.steps import Followed, Pause, Queued, Ticket
from stripe_cache.core.writing import Write
from stripe_cache.tiers.dynamodb import DynamoDBTier
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.wiring import build

if TYPE_CHECKING:
    import redis

    from stripe_cache.core.engine import Engine

BASE = "https://api.stripe.com"
MAX_LAG = 1.0
PATHS = {
    "/v1/customers/cus_1": "cus_1",
    "/v1/customers/cus_2": "cus_2",
    "/v1/subscriptions/sub_1?expand[0]=customer": "cus_1",
    "/v1/subscriptions/sub_2?expand[0]=customer": "cus_2",
}
PROCESSES = 3
_namespaces = itertools.count()


@dataclass
class Process:
    engine: Engine
    clock: SetClock
    tiers: tuple[FaultyTier, FaultyTier]


@dataclass
class Flight:
    process: int
    plan: Plan
    ticket: Ticket
    response: Response


@dataclass
class Writing:
    process: int
    write: Write
    customer: str
    began: float
    held: set[int]
    """The tiers whose hold stands, and that everybody could have asked for it since the write began."""
    is_told: bool
    effect: int = -1


@dataclass
class Promise:
    """No call up to this one, of those that hold this customer, may answer reads that begin later."""

    customer: str
    until_call: int
    at: float
    process: int | None  # The one it is promised to; None for all.
    by: int


@dataclass
class Servers:
    redis: redis.Redis
    dynamodb: Any
    table: str
    tally: Tally[str] = field(default_factory=Tally)


class CacheMachine(RuleBasedStateMachine):
    servers: ClassVar[Servers]
    flights = Bundle("flights")
    writes = Bundle("writes")
    lost = Bundle("lost")

    @initialize(skew=st.sampled_from([0.0, -200.0, 3600.0]), shared=st.sampled_from([(0, 1), (0,), (0,), (0,)]))
    def start(self, skew: float, shared: tuple[int, ...]) -> None:
        self.skew, self.shared = skew, shared
        self.unsettled: list[Writing] = []
        self.namespace = f"acct_{next(_namespaces)}"
        self.time = 0.0
        self.calls = 0
        self.promises: list[Promise] = []
        self.flying: dict[Any, int] = {}
        self.processes = [self._process(skew if index == 1 else 0.0) for index in range(PROCESSES)]
        self.servers.tally["programs"] += 1

    def _process(self, skew: float) -> Process:
        clock, meter, servers = SetClock(time.time() + skew), NullMeter(), self.servers
        faulty = (
            FaultyTier(RedisTier(lambda: servers.redis, meter)),
            FaultyTier(DynamoDBTier(lambda: servers.dynamodb, servers.table, clock, meter)),
        )
        # DynamoDB Local takes ten times as long as Redis: most programs do without it.
        guarded = tuple(GuardedTier(faulty[index], 10.0, clock, meter) for index in self.shared)
        chosen = Settings(namespace=self.namespace, memory_max_lag=MAX_LAG, events=True)
        return Process(build(chosen, clock=clock, shared=guarded), clock, faulty)

    @rule(target=flights, process=st.integers(0, PROCESSES - 1), path=st.sampled_from(sorted(PATHS)))
    def begin_read(self, process: int, path: str) -> Flight | None:
        return self._begin(process, path)

    @rule(path=st.sampled_from(sorted(PATHS)), order=st.permutations(range(PROCESSES)))
    def read(self, path: str, order: list[int]) -> None:
        for process in order:
            self.finish_read(self._begin(process, path))

    @rule(flight=consumes(flights))
    def finish_read(self, flight: Flight | None) -> None:
        if flight is not None:
            self.processes[flight.process].engine.reads.complete(flight.ticket, flight.response)

    @rule(process=st.integers(0, PROCESSES - 1), customer=st.sampled_from(["cus_1", "cus_2"]))
    def event(self, process: int, customer: str) -> None:
        last = self.calls
        changed = {"id": customer, "object": "customer"}
        event = {"id": "evt_1", "object": "event", "type": "customer.updated", "created": 0, "livemode": False}
        try:
            self.processes[process].engine.apply({**event, "data": {"object": changed}})
        except InvalidationError:
            self.servers.tally["invalidations refused"] += 1
        else:
            self.servers.tally["invalidations"] += 1
            self.promises.append(Promise(customer, last, self.time, None, process))

    @rule(target=writes, process=st.integers(0, PROCESSES - 1), customer=st.sampled_from(["cus_1", "cus_2"]))
    def begin_write(self, process: int, customer: str) -> Writing:
        engine = self.processes[process].engine
        write = Write(engine.invalidator, f"{self.namespace}.test", "post", f"{BASE}/v1/customers/{customer}", "name=x")
        before = self._voids(process)
        write.begin(engine.clock.now())
        # The beginning of a write passes over a tier that its process leaves alone: no fault, and no hold there either.
        is_told = all(now > then for now, then in zip(self._voids(process), before, strict=True))
        held = {index for index in self.shared if all(one.tiers[index].mode == WORKS for one in self.processes)}
        begun = Writing(process, write, customer, self.time, held, is_told)
        self.unsettled.append(begun)
        return begun

    @rule(writing=writes)
    def write_takes_effect(self, writing: Writing) -> None:
        if writing.effect < 0:
            writing.effect = self.calls
            self.unsettled.remove(writing)

    @rule(writing=consumes(writes))
    def end_write(self, writing: Writing) -> None:
        self.write_takes_effect(writing)
        before = self._faults(writing.process)
        writing.write.end("{}")
        told = before == self._faults(writing.process)
        self.servers.tally["writes"] += 1
        heard = None if told else writing.process
        self.promises.append(Promise(writing.customer, writing.effect, self.time, heard, writing.process))

    @rule(target=lost, writing=consumes(writes))
    def writer_dies(self, writing: Writing) -> Writing:
        """End a write without an answer, and its process' interest in it with that."""
        self.servers.tally["writers died in a write" if writing.effect >= 0 else "writers died before it"] += 1
        if writing.effect >= 0:
            self._lost_write(writing)
        return writing

    @rule(writing=consumes(lost))
    def stripe_performs_a_lost_write(self, writing: Writing) -> None:
        if writing.effect < 0:
            self.write_takes_effect(writing)
            self._lost_write(writing)

    def _lost_write(self, writing: Writing) -> None:
        """Promise (P4) that nothing older than its effect is served, if its hold can have been met by all till then."""
        in_time = self.time - writing.began < HOLD_SECONDS - SKEW_SECONDS
        if writing.is_told and writing.held and in_time and abs(self.skew) <= SKEW_SECONDS:
            self.servers.tally["lost writes"] += 1
            self.promises.append(Promise(writing.customer, writing.effect, self.time, None, writing.process))

    def _voids(self, process: int) -> list[int]:
        return [self.processes[process].tiers[index].voids for index in self.shared]

    def _faults(self, process: int) -> int:
        return sum(tier.faults for tier in self.processes[process].tiers)

    @rule(
        kind=st.sampled_from(["network", "evict", "evict", "restart", "flush"]),
        process=st.integers(0, PROCESSES - 1),
        tier=st.integers(0, 1),
        mode=st.sampled_from([WORKS, WORKS, DOWN, DEAF]),
        record=st.sampled_from(["cus_1", "cus_2", "sub_1", "sub_2", "#"]),
    )
    def fault(self, kind: str, process: int, tier: int, mode: str, record: str) -> None:
        """Let something go wrong; one rule for all of it, so that hypothesis does not do little else."""
        self.servers.tally["faults"] += 1
        for writing in self.unsettled:
            # A hold that is lost, or that somebody cannot ask for, keeps nobody from filling the tier.
            if kind == "flush" or (kind == "evict" and record == writing.customer) or mode != WORKS:
                writing.held.discard(0 if kind == "flush" else tier)
        if kind == "network":
            self.processes[process].tiers[tier].mode = mode
        elif kind == "evict":
            self._evict(record, from_redis=tier == 0)
        elif kind == "flush":
            self.servers.redis.flushall()
        else:
            # What was promised to this process alone ends with it.
            self.processes[process] = self._process(0.0)
            self.promises = [one for one in self.promises if one.process != process]

    def _evict(self, record: str, *, from_redis: bool) -> None:
        name = f"{self.namespace}.test|{record}"
        if from_redis:
            self.servers.redis.delete(f"sc1:{{{name}}}")
        else:
            self.servers.dynamodb.delete_item(TableName=self.servers.table, Key={"pk": {"S": name}})

    @rule(seconds=st.sampled_from([0.4, 1.0, 40.0]), frozen=st.none() | st.integers(0, PROCESSES - 1))
    def time_passes(self, seconds: float, frozen: int | None) -> None:
        self.time += seconds
        for index, process in enumerate(self.processes):
            process.clock.wall += seconds
            process.clock.elapsed += 0.0 if index == frozen else seconds

    def _begin(self, index: int, path: str) -> Flight | None:
        engine, customer = self.processes[index].engine, PATHS[path]
        plan = engine.planner.plan(Request("get", BASE + path, "sk_test_a", "", "", "2026-10-28.endive"))
        assert isinstance(plan, Plan)
        self.servers.tally["reads"] += 1
        step = engine.reads.begin(plan, directives.NONE)
        if isinstance(step, Queued):
            # Another call of this process is under way, and no generation vouches for it: any patience is allowed.
            self.servers.tally["reads that shared no flight"] += 1
            step = engine.reads.depart(step.ticket)
        if isinstance(step, Pause):
            # Another process is asking. This one looks again once, and then asks for itself: the same patience.
            self.servers.tally["reads that waited for another process"] += 1
            looked = engine.reads.resume(step)
            step = looked.ticket if isinstance(looked, Pause) else looked
        if isinstance(step, Answer):
            self.servers.tally["hits"] += 1
            held = step.data if step.data["object"] == "customer" else step.data["customer"]
            self._check(index, customer, int(held["metadata"]["call"]), step.status.tier)
            return None
        if isinstance(step, Followed):
            # It has a stale entry, and would wait for a moment only: here, too, any patience is allowed.
            step = step.flight
        if not isinstance(step, Ticket):
            # It will get what the leader of this flight brings, which has been asked for already.
            self.servers.tally["reads that joined a flight"] += 1
            self._check(index, customer, self.flying[step], "flight")
            return None
        self.calls += 1
        if step.flight is not None:
            self.flying[step.flight] = self.calls
        held = {"id": customer, "object": "customer", "metadata": {"call": str(self.calls)}}
        name = path.partition("?")[0].rpartition("/")[2]
        body = held if name == customer else {"id": name, "object": "subscription", "customer": held}
        return Flight(index, plan, step, Response(200, {}, json.dumps(body).encode()))

    def _check(self, index: int, customer: str, call: int, tier: str) -> None:
        for promise in self.promises:
            if promise.customer != customer or promise.process not in {None, index} or call > promise.until_call:
                continue
            grace = MAX_LAG if tier == "memory" and promise.by != index else 0.0
            assert self.time < promise.at + grace, (
                f"{tier} serves process {index} the answer of call {call}; no call up to {promise.until_call} may be "
                f"served since {promise.at}, it is {self.time}"
            )
