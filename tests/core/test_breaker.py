from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from stripe_cache.core.breaker import FIRST_PAUSE, LONGEST_PAUSE, Admission, Breaker

if TYPE_CHECKING:
    from fakes import FakeClock


@pytest.fixture
def breaker(clock: FakeClock) -> Breaker:
    return Breaker(clock)


def test_it_opens_at_the_second_failure_in_a_row(breaker: Breaker) -> None:
    assert not breaker.failed(was_slow=False)
    assert breaker.admits()
    assert breaker.failed(was_slow=False)
    assert breaker.is_open
    assert not breaker.admits()


def test_a_success_in_between_starts_the_count_over(breaker: Breaker) -> None:
    breaker.failed(was_slow=False)
    breaker.succeeded()
    assert not breaker.failed(was_slow=False)


def test_one_slow_failure_opens_it(breaker: Breaker) -> None:
    assert breaker.failed(was_slow=True)


def test_one_probe_per_pause_is_admitted_and_its_success_closes_it(breaker: Breaker, clock: FakeClock) -> None:
    breaker.failed(was_slow=True)
    clock.advance(FIRST_PAUSE)
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert all(breaker.admits() for _ in range(3))


def test_of_many_threads_at_once_one_probes(breaker: Breaker, clock: FakeClock) -> None:
    breaker.failed(was_slow=True)
    for _ in range(20):
        clock.advance(LONGEST_PAUSE)
        barrier = Barrier(8)
        with ThreadPoolExecutor(8) as threads:
            admitted = list(threads.map(lambda _, gate=barrier: (gate.wait(), breaker.admits())[1], range(8)))
        assert sum(admitted) == 1


def test_a_probe_that_never_reports_back_does_not_shut_it_for_ever(breaker: Breaker, clock: FakeClock) -> None:
    breaker.failed(was_slow=True)
    clock.advance(FIRST_PAUSE)
    assert breaker.admits()
    clock.advance(FIRST_PAUSE)
    assert breaker.admits()


def test_failed_probes_double_the_pause_up_to_a_limit(breaker: Breaker, clock: FakeClock) -> None:
    assert breaker.failed(was_slow=True)
    pause = FIRST_PAUSE
    for _ in range(8):
        clock.advance(pause - 0.01)
        assert not breaker.admits()
        clock.advance(0.01)
        assert breaker.admits()
        assert not breaker.failed(was_slow=True), "it was open already"
        pause = min(LONGEST_PAUSE, pause * 2)
    breaker.succeeded()
    breaker.failed(was_slow=True)
    clock.advance(FIRST_PAUSE)
    assert breaker.admits(), "after a success the pauses start small again"


def test_while_a_probe_is_under_way_nobody_else_makes_one(breaker: Breaker, clock: FakeClock) -> None:
    breaker.failed(was_slow=True)
    clock.advance(FIRST_PAUSE)
    assert breaker.admit(10.0) is Admission.PROBE
    clock.advance(9.9)
    assert breaker.is_resting
    assert breaker.admit(10.0) is Admission.REFUSED
    clock.advance(0.1)
    assert breaker.admit(10.0) is Admission.PROBE, "the first has died"


def test_a_probe_keeps_its_place_while_others_fail_and_the_pause_begins_with_its_own_failure(
    breaker: Breaker, clock: FakeClock
) -> None:
    breaker.failed(was_slow=True)
    clock.advance(FIRST_PAUSE)
    assert breaker.admit(10.0) is Admission.PROBE
    clock.advance(5.0)
    assert not breaker.failed(was_slow=True, by_probe=False)
    clock.advance(4.0)
    assert breaker.admit(10.0) is Admission.REFUSED
    breaker.failed(was_slow=False)
    clock.advance(2 * FIRST_PAUSE)
    assert breaker.admit(10.0) is Admission.PROBE


def test_a_probe_that_was_not_made_leaves_its_place_to_the_next(breaker: Breaker, clock: FakeClock) -> None:
    breaker.withdraw()
    assert breaker.admit() is Admission.FREE
    breaker.failed(was_slow=True)
    breaker.withdraw()
    assert breaker.admit(10.0) is Admission.REFUSED, "there was no probe"
    clock.advance(FIRST_PAUSE)
    assert breaker.admit(10.0) is Admission.PROBE
    breaker.withdraw()
    assert breaker.admit(10.0) is Admission.PROBE
    assert breaker.admit(10.0) is Admission.REFUSED


def test_a_failed_probe_opens_it_again_however_few_failures_there_were(clock: FakeClock) -> None:
    breaker = Breaker(clock, 5)
    breaker.failed(was_slow=True)
    clock.advance(FIRST_PAUSE)
    assert breaker.admit(10.0) is Admission.PROBE
    breaker.failed(was_slow=False)
    assert breaker.is_resting
    clock.advance(2 * FIRST_PAUSE)
    assert breaker.admit(10.0) is Admission.PROBE
