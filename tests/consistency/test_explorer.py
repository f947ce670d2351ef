"""The real protocol in every order of its steps: nothing dead is ever served; and each planted bug is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from consistency.caller_programs import CALLER_PROGRAMS, SLOW_CALLER_PROGRAMS
from consistency.collapse_programs import COLLAPSE_PROGRAMS, SLOW_COLLAPSE_PROGRAMS
from consistency.explorer import Report, Search
from consistency.hold_mutants import HOLD_MUTANTS
from consistency.memory_mutants import MEMORY_MUTANTS
from consistency.memory_programs import MEMORY_PROGRAMS
from consistency.mutants import MUTANTS, Mutant
from consistency.processes import Site
from consistency.programs import PROGRAMS, SLOW
from consistency.redis_programs import REDIS_PROGRAMS, SLOW_REDIS_PROGRAMS
from consistency.replay_mutants import REPLAY_MUTANTS
from consistency.replay_programs import REPLAY_PROGRAMS, SLOW_REPLAY_PROGRAMS
from consistency.seen_programs import SEEN_PROGRAMS, SLOW_SEEN_PROGRAMS
from consistency.stale_programs import STALE_PROGRAMS
from consistency.step_mutants import STEP_MUTANTS
from consistency.write_programs import WRITE_PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_STATES = 2_000_000
QUICK = {
    **PROGRAMS,
    **WRITE_PROGRAMS,
    **REDIS_PROGRAMS,
    **CALLER_PROGRAMS,
    **REPLAY_PROGRAMS,
    **COLLAPSE_PROGRAMS,
    **SEEN_PROGRAMS,
    **MEMORY_PROGRAMS,
    **STALE_PROGRAMS,
}
LARGER = {
    **SLOW,
    **SLOW_REDIS_PROGRAMS,
    **SLOW_CALLER_PROGRAMS,
    **SLOW_REPLAY_PROGRAMS,
    **SLOW_COLLAPSE_PROGRAMS,
    **SLOW_SEEN_PROGRAMS,
}


_COSTLY = {"shared by threads", "threads embedded", "bytes", "failing", "settle again"}
"""Programs in which even a bug takes long to show."""


def _priced(mutant: Mutant) -> Any:
    costly = mutant.program in _COSTLY
    return pytest.param(mutant, marks=pytest.mark.slow, id=mutant.name) if costly else mutant


def _said(report: Report) -> str:
    return "\n    ".join([report.violation, *report.schedule])


@pytest.mark.parametrize("name", QUICK)
def test_no_order_of_steps_breaks_a_promise(name: str, say: Callable[[object], None]) -> None:
    report = Search(QUICK[name](Site())).run(MOST_STATES)
    say(report)
    assert not report.violation, _said(report)
    assert report.interleavings > 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGER)
def test_no_order_of_steps_of_a_larger_program_breaks_a_promise(name: str, say: Callable[[object], None]) -> None:
    report = Search(LARGER[name](Site())).run(MOST_STATES)
    say(report)
    assert not report.violation, _said(report)
    assert report.interleavings > 10_000


@pytest.mark.parametrize(
    "mutant",
    [*MUTANTS, *map(_priced, STEP_MUTANTS), *REPLAY_MUTANTS, *MEMORY_MUTANTS, *HOLD_MUTANTS],
    ids=lambda mutant: getattr(mutant, "name", None),
)
def test_a_planted_bug_is_found(mutant: Mutant, say: Callable[[object], None]) -> None:
    builder = {**QUICK, **LARGER}[mutant.program]
    with mutant.planted():
        report = Search(builder(Site(**dict(mutant.site)))).run(MOST_STATES)
    say(f"{mutant.name}: {report.states:,} states until\n    {_said(report)}")
    assert report.violation, f"no order of steps shows that {mutant.name}"
