"""The real protocol in every order of its steps: nothing dead is ever served; and each planted bug is found."""

from __future__ import annotations

import pytest
from consistency.explorer import Report, Search
from consistency.mutants import MUTANTS, Mutant
from consistency.processes import Site
from consistency.programs import PROGRAMS, SLOW

MOST_STATES = 2_000_000


def _said(report: Report) -> str:
    return "\n    ".join([report.violation, *report.schedule])


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_order_of_steps_breaks_a_promise(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = Search(PROGRAMS[name](Site())).run(MOST_STATES)
    with capsys.disabled():
        print(f"\n{report}", end="")
    assert not report.violation, _said(report)
    assert report.interleavings > 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_no_order_of_steps_of_a_larger_program_breaks_a_promise(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = Search(SLOW[name](Site())).run(MOST_STATES)
    with capsys.disabled():
        print(f"\n{report}", end="")
    assert not report.violation, _said(report)
    assert report.interleavings > 100_000


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant, capsys: pytest.CaptureFixture[str]) -> None:
    builder = {**PROGRAMS, **SLOW}[mutant.program]
    with mutant.planted():
        report = Search(builder(Site(**dict(mutant.site)))).run(MOST_STATES)
    with capsys.disabled():
        print(f"\n{mutant.name}: {report.states:,} states until\n    {_said(report)}", end="")
    assert report.violation, f"no order of steps shows that {mutant.name}"
