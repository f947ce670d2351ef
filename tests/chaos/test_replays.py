"""From when on a queued invalidation counts as told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from local.chaos import replays
from local.chaos.faults import FAULTS
from local.chaos.judge import Confirmed, Queued
from local.chaos.outcome import Outcome
from local.chaos.replays import Replays
from local.demo.truth import Ack


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "EVERY_SECONDS", 0.01)


def test_it_counts_from_the_end_of_a_later_run_that_left_nothing() -> None:
    answers = [{"left": 1, "failed": False}, {"left": 0, "failed": True}, {"left": 0, "failed": False}]
    ends: list[float] = []

    def replay() -> dict[str, Any]:
        answer = answers[min(len(ends), 2)]
        ends.append(time.time())
        return answer

    queued_at = time.time()
    with Replays(replay) as running:
        assert running.wait_until_told(queued_at, 5)
        told = running.told_since(queued_at)
        # What is queued while a run is under way waits for the next one.
        assert running.told_since(time.time() + 60) is None
        assert not running.wait_until_told(time.time() + 60, 0.05)
    assert told is not None
    assert ends[2] <= told < queued_at + 5


def test_what_ends_the_replays_early_is_told_on_leaving() -> None:
    def replay() -> dict[str, Any]:
        raise RuntimeError("the process is gone")

    with pytest.raises(RuntimeError, match="the process is gone"), Replays(replay) as running:
        assert not running.wait_until_told(time.time(), 5)


def test_a_queued_change_is_held_against_nobody_before_it_was_told() -> None:
    confirmed = Confirmed()
    confirmed.add(Ack("cus_1", 1, 10.0), None)
    confirmed.add(Ack("cus_1", 2, 20.0), Queued({"evt_2"}, lambda at: at + 5))
    confirmed.add(Ack("cus_1", 3, 30.0), Queued({"evt_3"}, lambda _: None))
    assert [(ack.change, ack.at) for ack in confirmed.by_all] == [(1, 10.0), (2, 25.0)]
    assert (confirmed.count, confirmed.queued) == (3, 2)


def test_an_outbox_that_is_never_emptied_is_a_problem() -> None:
    outcome = Outcome(FAULTS[0], recovered=0.0, untold=True)
    assert outcome.missing == 1
    assert "never told" in outcome.problems[0]
