"""The real protocol in every order of its steps: nothing dead is ever served; and each planted bug is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from consistency.explorer import Report, Search
from consistency.mutants import MUTANTS, Mutant
from consistency.processes import Site
from consistency.programs import PROGRAMS, SLOW

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_STATES = 2_000_000


def _said(report: Report) -> str:
    return "\n    ".join([report.violation, *report.schedule])


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_order_of_steps_breaks_a_promise(name: str, say: Callable[[object], None]) -> None:
    report = Search(PROGRAMS[name](Site())).run(MOST_STATES)
    say(report)
    assert not report.violation, _said(report)
    assert report.interleavings > 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_no_order_of_steps_of_a_larger_program_breaks_a_promise(name: str, say: Callable[[object], None]) -> None:
    report = Search(SLOW[name](Site())).run(MOST_STATES)
    say(report)
    assert not report.violation, _said(report)
    assert report.interleavings > 100_000


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant, say: Callable[[object], None]) -> None:
    builder = {**PROGRAMS, **SLOW}[mutant.program]
    with mutant.planted():
        report = Search(builder(Site(**dict(mutant.site)))).run(MOST_STATES)
    say(f"{mutant.name}: {report.states:,} states until\n    {_said(report)}")
    assert report.violation, f"no order of steps shows that {mutant.name}"
