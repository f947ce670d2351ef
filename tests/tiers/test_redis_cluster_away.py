"""A cluster of which one node is away: the others serve, and the one costs its timeout once for each of its pauses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock, RecordingMeter, eventually, key_of, stored_of

from stripe_cache.core import metrics, protocol
from stripe_cache.core.breaker import FIRST_PAUSE
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.debts import Debts
from stripe_cache.core.descent import Tiers
from stripe_cache.core.errors import InvalidationError, TierError, TierPartError
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.core.ports import NO_HOLD, HoldChange, Slot
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.redis import RedisTier, record_key
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_url import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.redis_cluster import Node, RedisCluster

TIMEOUT = 0.3
HOUR = 3600.0


@pytest.fixture(scope="module")
def steady() -> Iterator[RedisCluster]:
    """Start a cluster that never replaces a master, so that one stays away for as long as a test wants."""
    from local.redis_cluster import RedisCluster

    with RedisCluster(replicas=0, node_timeout=120.0) as made:
        yield made


@pytest.fixture(autouse=True)
def _thawed(steady: RedisCluster) -> Iterator[None]:
    yield
    for node in steady.living():
        node.thaw()


class Bench:
    """Records on one master and on the others, in a tier behind its guard; the counter is on one of the others."""

    def __init__(self, cluster: RedisCluster, namespace: str, meter: RecordingMeter) -> None:
        self.namespace = namespace
        self.tier = RedisTier(lambda: connect(parse(cluster.url), TIMEOUT), meter)
        self.guard = GuardedTier(self.tier, TIMEOUT * 3, SystemClock(), meter)
        home = cluster.master_of(record_key(namespace, "#"))
        # Another than the one that the URL names first, which tells the map.
        self.victim: Node = next(node for node in reversed(cluster.masters()) if node is not home)
        names = [f"cus_{number}" for number in range(24)]
        self.lost = [one for one in names if cluster.master_of(record_key(namespace, one)) is self.victim]
        self.others = [one for one in names if one not in self.lost]
        self.guard.touch(namespace, names, "t1", HOUR)
        for record in names:
            self.guard.store(key_of(namespace, record), "t1", stored_of(), HOUR)

    def hits(self, record: str) -> bool:
        (reading,) = self.guard.read(self.namespace, [Slot(record, key_of(self.namespace, record))])
        return reading.stored is not None

    def lose(self) -> None:
        """Freeze the victim, and let the tier find out and go on with the others."""
        self.victim.freeze()
        assert not self.hits(self.lost[0])
        assert eventually(lambda: self.hits(self.others[0]))


@pytest.fixture
def bench(steady: RedisCluster, namespace: str, meter: RecordingMeter) -> Bench:
    return Bench(steady, namespace, meter)


def seconds(begun: float) -> float:
    return time.monotonic() - begun


def test_what_is_on_the_other_masters_is_served_although_what_is_not_is_asked_for(bench: Bench) -> None:
    bench.lose()
    slow = asked = served = 0
    ends = time.monotonic() + 2 * FIRST_PAUSE
    while time.monotonic() < ends:
        begun = time.monotonic()
        assert not bench.hits(bench.lost[0])
        slow += seconds(begun) > TIMEOUT / 2
        served += sum(map(bench.hits, bench.others))
        asked += len(bench.others)
        time.sleep(0.01)
    # Its pauses are 1, 2 and 4 seconds: of some hundred reads at most two waited. Where the breaker of the whole tier
    # opened instead, most of the others would have had to wait for it.
    assert slow <= 2
    assert served > 0.8 * asked
    assert bench.guard.is_partly_away


def test_fills_and_counters_on_the_other_masters_work(bench: Bench) -> None:
    bench.lose()
    record = bench.others[0]
    (state,), counter = bench.guard.touch(bench.namespace, [record], "t9", HOUR)
    assert state.generation == "t1"
    assert bench.guard.store(key_of(bench.namespace, record), "t1", stored_of(), HOUR).value == "stored"
    assert bench.guard.void(bench.namespace, [record], "t2", NO_HOLD) == [record]
    assert bench.guard.count(bench.namespace, finished=1).finished == counter.finished + 1
    assert not bench.hits(record)


def test_an_invalidation_is_tried_at_the_node_that_is_left_alone(bench: Bench) -> None:
    bench.lose()
    begun = time.monotonic()
    with pytest.raises(TierError):
        bench.guard.void(bench.namespace, bench.lost[:1], "t2", NO_HOLD)
    assert seconds(begun) > TIMEOUT / 2, "asked, and not just refused"
    bench.victim.thaw()
    assert bench.guard.void(bench.namespace, bench.lost[:1], "t2", NO_HOLD) == bench.lost[:1]
    assert not bench.guard.is_partly_away, "and that is how it was found well again"
    assert bench.hits(bench.lost[1])
    assert not bench.hits(bench.lost[0])


def test_with_the_counter_away_a_record_elsewhere_is_void_all_the_same_and_not_confirmed(
    steady: RedisCluster, namespace: str, meter: RecordingMeter
) -> None:
    bench = Bench(steady, namespace, meter)
    home = steady.master_of(record_key(namespace, "#"))
    record, other = [name for name in bench.others if steady.master_of(record_key(namespace, name)) is not home][:2]
    home.freeze()
    with pytest.raises(TierError):
        bench.guard.count(namespace)
    assert eventually(lambda: bench.hits(record))
    with pytest.raises(TierPartError):
        protocol.invalidate(bench.guard, namespace, [record])
    assert not bench.hits(record), "nobody else is served what is known to be old, however long the node is away"
    assert bench.hits(other)


def test_a_write_waits_for_the_node_once_and_its_records_are_not_read_before_they_are_void(
    bench: Bench, meter: RecordingMeter
) -> None:
    bench.lose()
    debts = Debts()
    invalidator = Invalidator(Tiers(None, (bench.guard,)), debts, meter)
    record = bench.lost[0]
    begun = time.monotonic()
    with pytest.raises(InvalidationError):
        invalidator.invalidate(bench.namespace, [record], HoldChange(add="w@9"))
    assert seconds(begun) < TIMEOUT / 2, "the beginning asks nobody"
    with pytest.raises(InvalidationError):
        invalidator.invalidate(bench.namespace, [record], HoldChange(remove="w@9"))
    waited = []
    ends = time.monotonic() + 1.5 * FIRST_PAUSE
    while time.monotonic() < ends:
        begun = time.monotonic()
        assert not debts.trusted((bench.guard,)), "owed"
        waited.append(seconds(begun) > TIMEOUT / 2)
    assert sum(waited) <= 2, "of the readers one pays in vain, when the node is due"
    assert len(waited) > 20
    bench.victim.thaw()
    assert eventually(lambda: bool(debts.trusted((bench.guard,))))
    assert not bench.hits(record)
    assert bench.hits(bench.lost[1])


def test_all_masters_at_once_cost_one_timeout_and_open_the_breaker_of_the_tier(
    steady: RedisCluster, bench: Bench
) -> None:
    for node in steady.masters():
        node.freeze()
    begun = time.monotonic()
    for record in (*bench.lost, *bench.others):
        assert not bench.hits(record)
    assert seconds(begun) < 2 * TIMEOUT
    assert bench.guard.is_open


def test_a_failure_is_a_part_s_only_once_another_part_has_answered_since(bench: Bench) -> None:
    bench.victim.freeze()
    with pytest.raises(TierError) as first:
        bench.tier.read(bench.namespace, [Slot(bench.lost[0])])
    assert not isinstance(first.value, TierPartError), "it might be the network"
    bench.tier.read(bench.namespace, [Slot(bench.others[0])])
    begun = time.monotonic()
    with pytest.raises(TierPartError, match="left alone"):
        bench.tier.read(bench.namespace, [Slot(bench.lost[0])])
    assert seconds(begun) < TIMEOUT / 2


def test_a_slot_that_nobody_serves_is_a_part(steady: RedisCluster, bench: Bench, meter: RecordingMeter) -> None:
    place = record_key(bench.namespace, bench.lost[0])
    slot = bench.victim.ask("CLUSTER", "KEYSLOT", place)
    for node in steady.masters():
        node.ask("CLUSTER", "DELSLOTS", slot)
    try:
        for _ in range(4):
            assert not bench.hits(bench.lost[0])
            assert bench.hits(bench.others[0])
        assert meter.counts[metrics.TIER_ERROR, "redis"] >= 4
        assert not bench.guard.is_open
    finally:
        bench.victim.ask("CLUSTER", "ADDSLOTS", slot)


def test_the_guard_takes_a_part_that_is_away_for_a_sign_of_life_of_the_rest(
    clock: FakeClock, meter: RecordingMeter
) -> None:
    from fakes import FaultyTier

    from stripe_cache.tiers.memory import MemoryTier

    faulty = FaultyTier(MemoryTier(1_000_000, clock), clock)
    guard = GuardedTier(faulty, 1.0, clock, meter)
    faulty.failing = {"read": TierPartError("a part")}
    for _ in range(5):
        guard.read("n", [Slot("a")])
    assert not guard.is_open
    faulty.kill()
    for _ in range(2):
        guard.read("n", [Slot("a")])
    assert guard.is_open
    faulty.failing = {"read": TierPartError("a part")}
    clock.advance(60)
    guard.read("n", [Slot("a")])
    assert not guard.is_open
