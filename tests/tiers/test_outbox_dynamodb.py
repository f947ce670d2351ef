"""The outbox in a real table: nothing put in is lost, whoever replays, crashes or comes in between."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from fakes import FakeClock, FaultyTier, RecordingMeter

from stripe_cache.core import metrics
from stripe_cache.core.debts import Debts
from stripe_cache.core.descent import Tiers
from stripe_cache.core.errors import InvalidationError, RequestError, TierError
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.core.outbox import Cause, Missed, Outboxes, decoded, encoded
from stripe_cache.core.replay import Entry, Replayer, replay_all
from stripe_cache.tiers import outbox_dynamodb
from stripe_cache.tiers.dynamodb_connection import connect
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.tiers.outbox_dynamodb import DynamoDBOutbox

if TYPE_CHECKING:
    from collections.abc import Sequence

REDIS = ("redis",)


class Bench:
    """Two shared tiers that can be killed, and an outbox in a real table."""

    def __init__(self, outbox: DynamoDBOutbox, clock: FakeClock, meter: RecordingMeter) -> None:
        self.outbox, self.meter, self.clock = outbox, meter, clock
        self.tiers: dict[str, FaultyTier] = {}
        self.voided: list[str] = []
        for name in ("redis", "dynamodb"):
            tier = MemoryTier(1_000_000, clock)
            tier.name = name
            self.tiers[name] = FaultyTier(tier)
        shared = Tiers(None, (self.tiers["redis"], self.tiers["dynamodb"]))
        self.invalidator = Invalidator(shared, Debts(), meter, Outboxes([outbox], clock, meter))
        void = self.tiers["redis"].tier.void

        def noted(namespace: str, records: Sequence[str], *rest: Any) -> list[str]:
            self.voided += records
            return void(namespace, records, *rest)

        self.tiers["redis"].tier.void = noted  # type: ignore[method-assign]

    def replayer(self, outbox: Any = None, **names: Any) -> Replayer:
        return Replayer(outbox or self.outbox, self.invalidator, names, self.meter)

    def miss(self, namespace: str, *records: str) -> None:
        """Invalidate while Redis is away."""
        self.tiers["redis"].kill()
        with pytest.raises(InvalidationError, match="the rest is queued") as caught:
            self.invalidator.invalidate(namespace, records, cause=Cause("evt_1", 5.0))
        assert caught.value.queued
        self.tiers["redis"].revive()


@pytest.fixture
def bench(aws: None, table: str, clock: FakeClock, meter: RecordingMeter) -> Bench:
    del aws
    return Bench(DynamoDBOutbox(lambda: connect(20.0), table, clock), clock, meter)


def test_what_was_missed_is_told_once_and_forgotten(bench: Bench, namespace: str) -> None:
    bench.miss(namespace, "cus_1", "cus_2")
    bench.miss(namespace, "cus_2", "/v1/customers")
    report = bench.replayer().run(namespace)
    assert (report.confirmed, report.left, report.failure) == (2, 0, "")
    assert sorted(bench.voided) == ["/v1/customers", "cus_1", "cus_2"]
    assert bench.outbox.entries(namespace) == []
    assert bench.meter.total(metrics.INVALIDATION_QUEUED) == 4
    assert bench.replayer().run(namespace).confirmed == 0


def test_a_tier_above_one_that_missed_it_is_told_again(bench: Bench, namespace: str) -> None:
    missed = Missed(namespace, ("cus_1",), ("redis", "dynamodb"))
    bench.outbox.put(missed)
    order: list[str] = []
    for name, tier in bench.tiers.items():
        tier.after["void"] = lambda name=name: order.append(name)
    assert bench.replayer().run(namespace).confirmed == 1
    assert order == ["dynamodb", "redis"]


def test_a_crash_between_telling_and_forgetting_leaves_it_to_be_told_again(bench: Bench, namespace: str) -> None:
    bench.miss(namespace, "cus_1")

    class Crashing:
        def entries(self, namespace: str) -> list[Entry]:
            return bench.outbox.entries(namespace)

        def forget(self, *_: object) -> None:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        bench.replayer(Crashing()).run(namespace)
    assert bench.voided == ["cus_1"]
    assert bench.replayer().run(namespace).confirmed == 1
    assert bench.voided == ["cus_1", "cus_1"]


def test_what_is_missed_during_a_replay_stays_though_it_says_the_same(bench: Bench, namespace: str) -> None:
    bench.miss(namespace, "cus_1")
    # The void has been done for the first; then a second change of the same record is missed.
    bench.tiers["redis"].after["settle"] = lambda: None
    bench.tiers["redis"].after["void"] = lambda: bench.outbox.put(Missed(namespace, ("cus_1",), REDIS))
    assert bench.replayer().run(namespace).confirmed == 1
    assert [one.missed.records for one in bench.outbox.entries(namespace)] == [("cus_1",)]


def test_two_replayers_and_writers_at_once_lose_nothing(bench: Bench, namespace: str) -> None:
    expected = [f"cus_{number}" for number in range(40)]
    start = Barrier(4)

    def write(half: list[str]) -> None:
        start.wait()
        for name in half:
            bench.outbox.put(Missed(namespace, (name,), REDIS))

    def replay() -> None:
        start.wait()
        for _ in range(10):
            assert bench.replayer().run(namespace).failure == ""

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(write, expected[:20]), pool.submit(write, expected[20:])]
        done += [pool.submit(replay), pool.submit(replay)]
        for one in done:
            one.result()
    bench.replayer().run(namespace)
    assert set(bench.voided) == set(expected)
    assert bench.outbox.entries(namespace) == []


def test_while_redis_stays_away_everything_stays(bench: Bench, namespace: str) -> None:
    bench.miss(namespace, "cus_1")
    bench.tiers["redis"].kill()
    report = bench.replayer().run(namespace)
    assert (report.confirmed, report.left) == (0, 1)
    assert "killed by the test" in report.failure
    bench.tiers["redis"].revive()
    assert bench.replayer().run(namespace).confirmed == 1


def test_time_that_runs_out_leaves_the_rest(bench: Bench, namespace: str) -> None:
    for number in range(60):
        bench.outbox.put(Missed(namespace, (f"cus_{number}",), REDIS))
    allowance = iter(range(2))
    report = bench.replayer().run(namespace, lambda: next(allowance, None) is not None)
    assert (report.confirmed, report.left) == (50, 10)
    assert bench.replayer().run(namespace).confirmed == 10


def test_a_replayer_without_the_tier_leaves_what_it_cannot_tell_and_tells_the_rest(
    bench: Bench, namespace: str
) -> None:
    bench.outbox.put(Missed(namespace, ("cus_1",), REDIS))
    bench.outbox.put(Missed(namespace, ("cus_2",), ("dynamodb",)))
    alone = Invalidator(Tiers(None, (bench.tiers["dynamodb"],)), Debts(), bench.meter)
    report = Replayer(bench.outbox, alone, {}, bench.meter).run(namespace)
    assert (report.confirmed, report.left) == (1, 1)
    assert "no such tier" in report.failure


def test_a_full_outbox_becomes_everything_and_only_redis_may_miss_everything(
    bench: Bench, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_dynamodb, "SHARDS", 1)
    monkeypatch.setattr(outbox_dynamodb, "MOST_PER_SHARD", 1)
    bench.miss(namespace, "cus_1")
    with pytest.raises(TierError, match="full"):
        bench.outbox.put(Missed(namespace, ("cus_2",), ("redis", "dynamodb")))
    bench.miss(namespace, "cus_3")
    kept = bench.outbox.entries(namespace)
    assert sorted(one.missed.records for one in kept) == [(), ("cus_1",)]
    listed = {"redis": lambda _: iter([["cus_1"], ["cus_3", "cus_4"]])}
    # Half-way through, something is missed again: what was listed before does not cover it.
    bench.tiers["redis"].after["void"] = lambda: bench.outbox.put(Missed(namespace, ("cus_1",), REDIS))
    assert bench.replayer(**listed).run(namespace).confirmed == 2
    assert bench.voided == ["cus_1", "cus_3", "cus_4"]
    assert [one.missed.is_everything for one in bench.outbox.entries(namespace)] == [True]
    assert bench.replayer(**listed).run(namespace).left == 0
    # Nobody knows the names of all the records there.
    bench.outbox.put(Missed(namespace, (), REDIS))
    assert "does not know the tier" in bench.replayer().run(namespace).failure


def test_thousands_of_records_fit_and_what_cannot_be_read_counts_as_everything(bench: Bench, namespace: str) -> None:
    many = tuple(f"sub_{number:020}" for number in range(2000))
    bench.outbox.put(Missed(namespace, many, REDIS, Cause("evt_1", 1.5)))
    kept = bench.outbox.entries(namespace)
    assert {name for one in kept for name in one.missed.records} == set(many)
    assert {one.missed.cause for one in kept} == {Cause("evt_1", 1.5)}
    assert max(len(one.handle) for one in kept) < 1800
    shard = kept[0].handle.partition(" ")[0]
    bench.outbox._table.update(f"{namespace}|#outbox{shard}", "ADD q :q", {":q": {"SS": ["nonsense"]}})
    assert any(one.missed.is_everything for one in bench.outbox.entries(namespace))
    assert bench.replayer(redis=lambda _: iter([["cus_1"]])).run(namespace).left == 0
    assert bench.outbox.entries(namespace) == []


def test_forgetting_what_is_gone_makes_no_item_that_never_ends(bench: Bench, namespace: str) -> None:
    entries = [Entry(Missed(namespace, ("cus_1",), REDIS), "0 text"), Entry(Missed(namespace, (), REDIS), "word")]
    bench.outbox.forget(namespace, entries)
    pks = [f"{namespace}|#outbox{name}" for name in ("0", "*")]
    assert bench.outbox._table.get_many(pks, "pk") == {}


def test_an_outbox_beside_a_dead_tier_is_not_asked_and_a_failing_one_is_left_alone(
    clock: FakeClock, meter: RecordingMeter
) -> None:
    class Away:
        tier = "dynamodb"
        asked = 0

        def put(self, _missed: Missed) -> None:
            self.asked += 1
            raise TierError("away")

    away = Away()
    boxes, missed = Outboxes([away], clock, meter), Missed("a.test", ("cus_1",), REDIS)
    assert not boxes.take(missed, ["dynamodb"])
    assert away.asked == 0
    assert [boxes.take(missed) for _ in range(6)] == [False] * 6
    assert away.asked == 2
    assert replay_all(None, ["a.test"]) == {}


def test_an_outbox_that_cannot_be_read_is_a_failure_and_no_error(bench: Bench, namespace: str) -> None:
    class Away:
        def entries(self, _namespace: str) -> list[Entry]:
            raise TierError("away")

        def forget(self, *_: object) -> None: ...

    assert replay_all(bench.replayer(Away()), [namespace])[namespace].failure == "away"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"namespace": 1, "records": ["cus_1"], "tiers": ["redis"]}',
        '{"namespace": "a", "records": ["cus_1"], "tiers": []}',
        '{"namespace": "a", "records": ["cus_1"], "tiers": ["memory"]}',
        '{"namespace": "a", "records": ["cus_1"], "tiers": [["redis"]]}',
        '{"namespace": "a", "records": "*", "tiers": ["redis", "dynamodb"]}',
        '{"namespace": "a", "records": [], "tiers": ["redis"]}',
        '{"namespace": "a", "records": ["#x"], "tiers": ["redis"]}',
        '{"namespace": "a", "records": [1], "tiers": ["redis"]}',
        '{"namespace": "a", "records": ["cus_1"], "tiers": ["redis"], "created": "x"}',
        '{"namespace": "a", "records": ["cus_1"], "tiers": ["redis"], "event": 5}',
    ],
)
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        decoded(text)


def test_an_entry_reads_back() -> None:
    missed = Missed("a.test", ("cus_1", "/v1/customers"), ("dynamodb", "redis"), Cause("evt_1", 3.0))
    assert decoded(encoded(missed)) == missed
