"""What is lost when a lagging replica takes over is what the document says, all of it and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from consistency.explorer import Report, Search
from consistency.takeover_programs import TAKEOVERS, embedded, memory, over_dynamodb, plain
from consistency.takeovers import ALL, GAP, ROUND, UNDER_WAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from consistency.explorer import Program

    Build = Callable[[frozenset[str]], Program]

MOST_STATES = 300_000


def _search(
    build: Callable[[frozenset[str]], Program], excuses: frozenset[str], say: Callable[[object], None]
) -> Report:
    report = Search(build(excuses)).run(MOST_STATES)
    say(report)
    if report.violation:
        say("\n    ".join([f"    not promised: {report.violation}", *report.schedule]))
    return report


@pytest.mark.parametrize("name", TAKEOVERS)
def test_nothing_is_lost_in_a_takeover_but_what_is_not_promised(name: str, say: Callable[[object], None]) -> None:
    report = _search(TAKEOVERS[name], ALL, say)
    assert not report.violation
    assert report.interleavings > 1000


@pytest.mark.parametrize(
    ("build", "without"),
    [(plain, GAP), (over_dynamodb, GAP), pytest.param(embedded, UNDER_WAY, marks=pytest.mark.slow)],
)
def test_what_is_not_promised_in_a_takeover_does_happen(
    build: Build, without: str, say: Callable[[object], None]
) -> None:
    report = _search(build, ALL - {without}, say)
    assert report.violation.startswith("redis serves")
    assert "the replica of redis takes over" in report.schedule


@pytest.mark.slow
def test_nothing_else_is_lost_of_what_embeds(say: Callable[[object], None]) -> None:
    assert not _search(embedded, ALL, say).violation


@pytest.mark.slow
def test_memory_loses_no_more_in_a_takeover_than_is_not_promised(say: Callable[[object], None]) -> None:
    assert not _search(memory, ALL, say).violation


@pytest.mark.slow
def test_memory_may_trust_a_counter_that_went_back_and_came_forward_again(say: Callable[[object], None]) -> None:
    assert _search(memory, ALL - {ROUND}, say).violation.startswith("memory serves")
