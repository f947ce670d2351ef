"""Readers without a lease share the next call: in every order of their steps, nobody gets one sent before it began."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stripe_cache.core.flights import Turn, Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

READERS = 3
Board = Turns[int]
# Which reader's call each reader must not be answered with, because it was sent before that reader began.
Sent = dict[int, frozenset[int]]


class Run:
    """One order of steps, taken over the real board from its beginning."""

    def __init__(self, board: Board, *, impatient: bool) -> None:
        self.board = board
        self.impatient = impatient
        self.sent: list[int] = []
        self.too_old: Sent = {}
        self.got: dict[int, int] = {}
        self.under_way = self.most_under_way = 0
        self.waiting_for: dict[int, Future[int] | None] = {}
        self.places = [0] * READERS
        self.leaders: dict[Future[int] | None, int] = {}
        self.flights: dict[int, int] = {}
        self.readers = [self._read(number) for number in range(READERS)]
        self.ended: set[int] = set()

    def runnable(self) -> list[int]:
        def may_go_on(number: int) -> bool:
            awaited = self.waiting_for.get(number)
            return awaited is None or awaited.done()

        return [number for number in range(READERS) if number not in self.ended and may_go_on(number)]

    def step(self, number: int) -> None:
        self.places[number] += 1
        if next(self.readers[number], None) is None:
            self.ended.add(number)

    def state(self) -> object:
        calls = tuple(self.got.get(number) for number in range(READERS))
        olds = tuple(self.too_old.get(number) for number in range(READERS))
        ahead = tuple(self.leaders.get(self.waiting_for.get(number)) for number in range(READERS))
        boards = [self.leaders.get(board.get("key")) for board in (self.board._open, self.board._sent)]
        flights = tuple(sorted(self.flights.items()))
        return tuple(self.places), tuple(sorted(self.sent)), olds, calls, ahead, tuple(boards), flights, self.under_way

    def _read(self, number: int) -> Iterator[str]:
        self.too_old[number] = frozenset(self.sent)
        yield "began, looks into the tiers"
        turn: Turn[int] = self.board.join("key")
        if turn.leads:
            self.leaders[turn.flight] = number
        self.flights[number] = self.leaders[turn.flight]
        if not turn.leads:
            self.waiting_for[number] = turn.flight
            yield "follows"
            self.got[number] = turn.flight.result()
            return
        self.waiting_for[number] = None if self.impatient else turn.ahead
        yield "leads"
        self.board.depart("key", turn.flight)
        yield "departed"
        self.sent.append(number)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        yield "sent"
        self.under_way -= 1
        self.board.land("key", turn.flight)
        turn.flight.set_result(number)
        self.got[number] = number


def explore(make: Callable[[], Board], *, impatient: bool = False) -> tuple[int, int, list[str]]:
    """Take the readers' steps in every order; return the states, the most calls at once, and what went wrong."""
    wrong: list[str] = []
    seen: set[object] = set()
    paths: list[tuple[int, ...]] = [()]
    most = 0
    while paths:
        path = paths.pop()
        run = Run(make(), impatient=impatient)
        for number in path:
            run.step(number)
        if run.state() in seen:
            continue
        seen.add(run.state())
        most = max(most, run.most_under_way)
        wrong += [f"{path}: {one} got {run.got[one]}" for one in run.got if run.got[one] in run.too_old[one]]
        runnable = run.runnable()
        if not runnable and len(run.ended) < READERS:
            wrong.append(f"{path}: nobody can go on")
        if len(run.ended) == READERS and len(run.board):
            wrong.append(f"{path}: something is left on the board")
        paths += [(*path, number) for number in runnable]
    return len(seen), most, wrong


@pytest.mark.parametrize("patience", ["enough", "none"])
def test_nobody_gets_a_call_that_was_sent_before_it_began(patience: str, say: Callable[[object], None]) -> None:
    states, most, wrong = explore(Turns, impatient=patience == "none")
    say(f"{READERS} readers that share the next call, patience {patience}: {states:,} states, {most} calls at once")
    assert not wrong
    assert states > 500
    assert most == (1 if patience == "enough" else READERS)


class JoinsWhatIsUnderWay(Turns[int]):
    """The planted bug: what is good for flights is not for turns."""

    def join(self, key: object) -> Turn[int]:
        under_way = self._sent.get(key)
        return Turn(under_way, leads=False, ahead=None) if under_way else super().join(key)


class NeverCloses(Turns[int]):
    """Another one: the call is sent, and still open."""

    def depart(self, key: object, flight: Future[int]) -> None:
        del key, flight


@pytest.mark.parametrize("mutant", [JoinsWhatIsUnderWay, NeverCloses])
def test_a_planted_bug_is_found(mutant: Callable[[], Board]) -> None:
    _, _, wrong = explore(mutant)
    assert any(" got " in one for one in wrong)
