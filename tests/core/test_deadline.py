from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from stripe_cache.core.deadline import (
    ANSWER_SECONDS,
    CALL_SECONDS,
    LAST_SECONDS,
    LONGEST_WAIT,
    SHORTEST_READ,
    SHORTEST_STEP,
    STALE_READ,
    Deadline,
)

if TYPE_CHECKING:
    from fakes import FakeClock

WAIT, TIMEOUT, STEP = 2.0, 10.0, 0.06


def context(seconds: float) -> Any:
    return SimpleNamespace(get_remaining_time_in_millis=lambda: int(seconds * 1000))


@pytest.fixture
def deadline(clock: FakeClock) -> Deadline:
    return Deadline(clock, WAIT, TIMEOUT)


@pytest.mark.parametrize("given", [None, object(), SimpleNamespace(get_remaining_time_in_millis="soon")])
def test_outside_lambda_the_settings_hold(deadline: Deadline, given: Any) -> None:
    deadline.begin(given)
    assert (deadline.patience(), deadline.read_timeout(), deadline.for_step(STEP)) == (WAIT, TIMEOUT, STEP)
    assert deadline.leaves(1e9)


def test_what_is_left_of_the_invocation_bounds_everything(deadline: Deadline, clock: FakeClock) -> None:
    deadline.begin(context(60.0))
    assert (deadline.patience(), deadline.read_timeout(), deadline.for_step(STEP)) == (LONGEST_WAIT, TIMEOUT, STEP)
    clock.advance(56.0)
    assert deadline.patience() == pytest.approx(4.0 - CALL_SECONDS)
    assert deadline.read_timeout() == pytest.approx(4.0 - LAST_SECONDS)
    assert deadline.for_step(STEP) == STEP
    assert deadline.for_step(30.0) == pytest.approx(4.0 - ANSWER_SECONDS)


def test_at_the_very_end_a_step_gets_enough_for_a_tier_that_is_well(deadline: Deadline, clock: FakeClock) -> None:
    deadline.begin(context(1.0))
    clock.advance(1.0 - ANSWER_SECONDS - 0.04)
    assert deadline.for_step(STEP) == pytest.approx(0.04)
    clock.advance(0.1)
    assert deadline.for_step(STEP) == SHORTEST_STEP
    assert deadline.for_step(0.01) == 0.01, "never more than the setting"
    assert deadline.patience() == 0.0
    assert deadline.read_timeout() == SHORTEST_STEP


@pytest.mark.parametrize(
    ("left", "timeout"),
    [(60.0, TIMEOUT), (3.0, 2.7), (0.81, 0.51), (0.7, SHORTEST_READ), (0.45, 0.35), (0.25, 0.15)],
)
def test_a_read_never_outlasts_the_invocation(deadline: Deadline, left: float, timeout: float) -> None:
    deadline.begin(context(left))
    assert deadline.read_timeout() == pytest.approx(timeout)
    assert deadline.read_timeout() < left
    assert deadline.read_timeout(has_stale=True) == pytest.approx(min(timeout, STALE_READ))
    assert deadline.leaves_a_read() == (left >= LAST_SECONDS + SHORTEST_READ)


def test_a_read_with_a_stale_entry_is_given_up_early_but_never_later_than_the_settings_say(clock: FakeClock) -> None:
    assert Deadline(clock, WAIT, TIMEOUT).read_timeout(has_stale=True) == STALE_READ
    assert Deadline(clock, WAIT, 0.4).read_timeout(has_stale=True) == 0.4
    assert Deadline(clock, WAIT, TIMEOUT).leaves_a_read()


def test_nothing_is_begun_that_would_outlast_the_invocation(deadline: Deadline, clock: FakeClock) -> None:
    deadline.begin(context(1.0))
    assert deadline.leaves(0.08)
    clock.advance(0.9)
    assert not deadline.leaves(0.08)


def test_an_invocation_that_is_over_does_not_bind_the_next_one(deadline: Deadline, clock: FakeClock) -> None:
    deadline.begin(context(1.0))
    clock.advance(2.0)
    assert deadline.for_step(STEP) == STEP
    deadline.begin(context(60.0))
    assert deadline.for_step(STEP) == STEP
    deadline.begin(None)
    clock.advance(59.9)
    assert deadline.for_step(STEP) == STEP
