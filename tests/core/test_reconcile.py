from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from stripe_cache import Settings
from stripe_cache.core import metrics
from stripe_cache.core.cursor import BadCursorError, Cursor
from stripe_cache.core.errors import InvalidationError
from stripe_cache.core.reconcile import (
    FIRST_WINDOW,
    OVERLAP,
    PAGE,
    EventGoneError,
    EventsUnavailableError,
    Reconciler,
    Sweep,
)
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOW = 1_800_000_000.0


class Bench:
    """An account's events in the order Stripe lists them, a cursor in a variable, and a clock that is set.

    What Stripe promises about pages is all that is modelled; the handlers' tests run against the fake's own list.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[dict[str, Any]] = []
        self.kept: str | None = None
        self.now_ = NOW
        self.asked: list[Mapping[str, Any]] = []
        self.voided: list[list[str]] = []
        self.counts: dict[str, float] = {}
        self.fail_at = -1
        self.crash = ""
        self.engine = build(Settings(namespace="acct_1"), clock=self, meter=self)
        invalidate = self.engine.invalidator.invalidate

        def record(namespace: str, records: Sequence[str], *rest: Any) -> dict[str, int]:
            if self.crash == "applying" and self.voided:
                raise InvalidationError(tuple(records), {}, {"redis": "down"})
            self.voided.append(list(records))
            return invalidate(namespace, records, *rest)

        monkeypatch.setattr(self.engine.invalidator, "invalidate", record)

    def now(self) -> float:
        return self.now_

    def monotonic(self) -> float:
        return self.now_

    def count(self, metric: str, value: float = 1, **_: str) -> None:
        self.counts[metric] = self.counts.get(metric, 0) + value

    def observe(self, metric: str, milliseconds: float, **_: str) -> None:
        self.counts[metric] = milliseconds

    def load(self, namespace: str) -> str | None:
        assert namespace == "acct_1.test"
        return self.kept

    def save(self, namespace: str, text: str, now: float) -> None:
        assert (namespace, now) == ("acct_1.test", self.now_)
        if self.crash == "saving":
            raise RuntimeError("killed")
        self.kept = text

    def happen(self, count: int, *, age: float = 0.0, customer: str = "") -> list[str]:
        """Let customers change, each `age` seconds ago; the newest event comes first in the list."""
        made = []
        for _ in range(count):
            number = len(self.events)
            body = {"object": "customer", "id": customer or f"cus_{number}"}
            event = {"id": f"evt_{number}", "object": "event", "type": "customer.updated", "data": {"object": body}}
            self.events.insert(0, event | {"created": int(self.now_ - age), "livemode": False})
            made.append(body["id"])
        return made

    def list_events(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(params)
        if len(self.asked) == self.fail_at:
            raise EventsUnavailableError("429")
        created = params.get("created", {})
        found = [
            event
            for event in self.events
            if created.get("gte", 0) <= event["created"] < created.get("lt", NOW * 2)
            and ("delivery_success" not in params or event.get("undelivered"))
        ]
        limit, ids = params["limit"], [event["id"] for event in found]
        if "ending_before" in params:
            if params["ending_before"] not in ids:
                raise EventGoneError("No such event")
            end = ids.index(params["ending_before"])
            return {"data": found[max(0, end - limit) : end], "has_more": end > limit}
        start = 0
        if "starting_after" in params:
            start = ids.index(params["starting_after"]) + 1
        return {"data": found[start : start + limit], "has_more": len(found) > start + limit}

    def sweep(self, calls: int = 10) -> Sweep:
        self.asked, self.voided = [], []
        return Reconciler(self.engine, self, self.list_events, "acct_1.test", account=None).run(calls)

    def objects(self) -> set[str]:
        return {name for step in self.voided for name in step if name.startswith("cus_")}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_the_first_sweep_goes_back_a_day_and_the_next_applies_what_is_new(bench: Bench) -> None:
    old = bench.happen(3, age=FIRST_WINDOW + 60)
    recent = bench.happen(5, age=3600)
    first = bench.sweep()
    assert (first.applied, first.finished, bench.objects()) == (5, True, set(recent))
    assert not bench.objects() & set(old)
    assert bench.sweep().applied == 0
    assert bench.voided == []
    assert len(bench.asked) == 1, "a quiet account costs one request"
    late = bench.happen(2)
    assert bench.sweep().applied == 2
    assert bench.objects() == set(late)


def test_an_account_without_older_events_is_read_from_its_newest_and_then_onwards(bench: Bench) -> None:
    assert bench.sweep().applied == 0
    young = bench.happen(3, age=5)
    assert (bench.sweep().applied, bench.objects()) == (3, set(young))
    assert bench.sweep().applied == 0
    bench.now_ += OVERLAP
    more = bench.happen(PAGE + 7)
    assert (bench.sweep().applied, bench.objects()) == (PAGE + 7, set(more))


@pytest.mark.parametrize("older", [0, 1])
def test_a_backlog_beyond_the_budget_is_taken_up_where_it_was_left(bench: Bench, older: int) -> None:
    bench.happen(older, age=FIRST_WINDOW + 60)
    made = set(bench.happen(PAGE * 5 + 3, age=OVERLAP + 1))
    seen: set[str] = set()
    for _ in range(9):
        sweep = bench.sweep(calls=2)
        assert len(bench.asked) <= 2
        assert (sweep.lag == 0) is sweep.finished
        assert not bench.objects() & seen, "nothing settled is applied twice"
        seen |= bench.objects()
        if sweep.finished:
            break
    assert seen == made
    assert bench.counts[metrics.RECONCILE_APPLIED] == len(made)
    assert bench.counts[metrics.RECONCILE_LAG] == 0


def test_an_event_that_shows_up_late_and_behind_others_is_found(bench: Bench) -> None:
    bench.happen(1, age=FIRST_WINDOW + 60)
    bench.happen(4, age=10)
    bench.sweep()
    (hidden,) = bench.happen(1, age=20)
    # Listed where its time puts it: behind four that the sweep has seen.
    bench.events.insert(4, bench.events.pop(0))
    bench.now_ += 60
    assert bench.sweep().applied == 1
    assert bench.objects() == {hidden}


def test_a_burst_for_one_object_costs_one_invalidation(bench: Bench) -> None:
    bench.happen(1, age=FIRST_WINDOW + 60)
    bench.happen(PAGE * 2, customer="cus_busy", age=1000)
    sweep = bench.sweep()
    assert sweep.applied == PAGE * 2
    assert [step.count("cus_busy") for step in bench.voided] == [1]


def test_a_crash_between_applying_and_saving_only_repeats_work(bench: Bench) -> None:
    bench.happen(1, age=FIRST_WINDOW + 60)
    made = set(bench.happen(5, age=1000))
    bench.crash = "saving"
    with pytest.raises(RuntimeError):
        bench.sweep()
    assert bench.objects() == made
    bench.crash = ""
    assert bench.sweep().applied == 5
    assert bench.objects() == made


def test_a_tier_that_cannot_be_told_keeps_the_cursor_where_it_is(bench: Bench) -> None:
    bench.happen(1, age=FIRST_WINDOW + 60)
    made = set(bench.happen(PAGE, age=1000))
    bench.crash = "applying"
    with pytest.raises(InvalidationError):
        bench.sweep()
    assert bench.kept is None
    bench.crash = ""
    bench.sweep()
    assert bench.objects() == made


def test_what_was_read_before_stripe_refused_is_applied(bench: Bench) -> None:
    bench.happen(1, age=FIRST_WINDOW + 60)
    bench.happen(PAGE * 3, age=1000)
    bench.fail_at = 3
    sweep = bench.sweep()
    assert (sweep.applied, sweep.finished, sweep.interrupted) == (PAGE, False, "429")
    bench.fail_at = 1
    with pytest.raises(EventsUnavailableError):
        bench.sweep()
    bench.fail_at = -1
    assert bench.sweep().applied == PAGE * 2


@pytest.mark.parametrize(
    "spoiled", ["expired", "{", '{"after": 1, "seen": []}', '{"seen": [1]}', '{"x": 1, "seen": []}']
)
def test_a_cursor_of_no_use_starts_over_with_a_warning(
    bench: Bench, spoiled: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = set(bench.happen(3, age=1000))
    bench.kept = Cursor(after="evt_gone").dump() if spoiled == "expired" else spoiled
    with caplog.at_level(logging.WARNING, "stripe_cache"):
        sweep = bench.sweep()
    assert (sweep.restarted, sweep.applied, bench.objects()) == (True, 3, made)
    assert "starts over" in caplog.text
    assert bench.counts[metrics.RECONCILE_RESTARTED] == 1
    assert not bench.sweep().restarted


def test_undelivered_events_are_asked_for_once_an_hour_and_applied_once(bench: Bench) -> None:
    bench.happen(1, age=FIRST_WINDOW + 60)
    bench.happen(2, age=1000)
    bench.sweep()
    assert sum("delivery_success" in params for params in bench.asked) == 1
    assert not any("delivery_success" in params for params in (bench.sweep(), bench.asked)[1])
    # An event that was listed so late that the cursor is long past it, and that no webhook took.
    (lost,) = bench.happen(1, age=1000)
    bench.events.append(bench.events.pop(0) | {"undelivered": True})
    bench.now_ += 3601
    assert (bench.sweep().applied, bench.objects()) == (1, {lost})
    bench.now_ += 3601
    assert bench.sweep().applied == 0


def test_what_is_no_event_is_passed_over(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.happen(1, age=FIRST_WINDOW + 60)
    made = bench.happen(2, age=1000)
    bench.events[0] |= {"data": None}
    with caplog.at_level(logging.WARNING, "stripe_cache"):
        sweep = bench.sweep()
    assert (sweep.applied, sweep.skipped, bench.objects()) == (1, 1, {made[0]})


def test_nothing_is_read_when_there_is_no_time(bench: Bench) -> None:
    bench.happen(3, age=1000)
    sweep = Reconciler(bench.engine, bench, bench.list_events, "acct_1.test", account=None).run(10, lambda: False)
    assert (sweep.pages, sweep.finished, bench.asked) == (0, False, [])
    assert bench.sweep().applied == 3


def test_a_cursor_reads_back_and_stays_small() -> None:
    cursor = Cursor("evt_1", 1.5, "evt_2", "evt_3", 2.5, tuple(f"evt_{number:027}" for number in range(900)))
    text = cursor.dump()
    assert len(text) < 20_000
    again = Cursor.load(text)
    assert (again.after, again.since, again.below, again.settled) == ("evt_1", 1.5, "evt_2", "evt_3")
    assert again.seen == cursor.seen[:500]
    with pytest.raises(BadCursorError, match="cannot be read"):
        Cursor.load("null")
