from __future__ import annotations

import logging

import pytest
from sweeps import FIRST_WINDOW, NOW, Bench

from stripe_cache import Settings
from stripe_cache.core import metrics
from stripe_cache.core.cursor import BadCursorError, Cursor
from stripe_cache.core.errors import InvalidationError
from stripe_cache.core.reconcile import (
    LONGEST_WINDOW,
    OVERLAP,
    PAGE,
    EventsUnavailableError,
    Reconciler,
)
from stripe_cache.wiring import build


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
    assert Cursor.load(bench.kept or "").after == "evt_0", "before all that was not applied"
    bench.crash = ""
    bench.sweep()
    assert bench.objects() == made


def test_what_was_read_before_stripe_refused_is_applied(bench: Bench) -> None:
    bench.happen(1, age=FIRST_WINDOW + 60)
    bench.happen(PAGE * 3, age=1000)
    bench.fail_at = 4
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


def test_time_that_runs_out_while_applying_keeps_what_was_done(bench: Bench) -> None:
    bench.happen(1, age=FIRST_WINDOW + 60)
    made = set(bench.happen(PAGE * 3, age=OVERLAP + 1))
    seen: set[str] = set()
    runs = 0
    while seen != made:
        runs += 1
        assert runs <= 4, "it goes on where it was left"
        bench.asked, bench.voided = [], []
        allowance = iter(range(10))
        sweep = Reconciler(bench.engine, bench, bench.list_events, "acct_1.test", account=None).run(
            10, lambda: True, lambda allowance=allowance: next(allowance, None) is not None
        )
        assert len(bench.voided) <= 10
        assert sweep.finished is (not sweep.interrupted)
        seen |= bench.objects()
    assert runs > 1


def test_the_first_sweep_goes_back_as_far_as_anything_cached_can_be_old_but_no_farther_than_stripe_does(
    bench: Bench,
) -> None:
    assert FIRST_WINDOW == 2 * 86400, "a day of freshness and one of staleness, as the shipped policy has it"
    for ttl, window in [(5 * 86400, 6 * 86400.0), (30 * 86400, LONGEST_WINDOW)]:
        policy = {"customer": {"ttl": ttl, "stale_window": 86400}}
        bench.engine = build(Settings(namespace="acct_1", policy=policy), clock=bench, meter=bench)
        bench.kept = None
        bench.sweep()
        assert bench.asked[0]["created"] == {"lt": int(NOW - window)}


def test_more_undelivered_events_than_a_page_are_read_on_and_applied_once(bench: Bench) -> None:
    bench.happen(1, age=FIRST_WINDOW + 60)
    bench.happen(1, age=OVERLAP + 1)
    bench.sweep()
    lost = set(bench.happen(PAGE * 2 + 5, age=1000))
    late = bench.events[: PAGE * 2 + 5]
    bench.events = bench.events[PAGE * 2 + 5 :] + [event | {"undelivered": True} for event in late]
    bench.now_ += 3601
    assert (bench.sweep().applied, bench.objects()) == (PAGE * 2 + 5, lost)
