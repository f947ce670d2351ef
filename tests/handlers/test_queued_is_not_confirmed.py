"""An event whose invalidation was only queued must not be marked: its repetition has to be applied again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stripe_cache import Settings
from stripe_cache.core.applying import Applier
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.errors import InvalidationError
from stripe_cache.core.outbox import Cause
from stripe_cache.core.seen import Seen
from stripe_cache.handlers.container import Container

EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "customer.updated",
    "livemode": False,
    "data": {"object": {"id": "cus_1", "object": "customer"}},
}
MARKED: dict[str, set[str]] = {"queued": set(), "done": {"evt_1"}}


class Marks:
    def __init__(self) -> None:
        self.marked: set[str] = set()

    def known(self, _namespace: str, events: Any) -> set[str]:
        return self.marked & set(events)

    def mark(self, _namespace: str, events: Any) -> None:
        self.marked |= set(events)


@pytest.fixture
def marks() -> Marks:
    return Marks()


@pytest.fixture(params=["queued", "done"])
def outcome(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def container(marks: Marks, outcome: str, monkeypatch: pytest.MonkeyPatch) -> Container:
    made = Container(Settings(namespace="acct_1"))
    made.cache.engine = replace(made.cache.engine, seen=Seen(marks, SystemClock()))

    def void(_self: Any, places: Any, *_: Any) -> dict[str, int]:
        if outcome == "queued":
            raise InvalidationError(tuple(*places.values()), {}, {"redis": "away"}, queued=True)
        return {}

    monkeypatch.setattr(type(made.cache.engine), "void", void)
    return made


def test_a_webhook_marks_what_was_confirmed_and_not_what_was_queued(
    container: Container, marks: Marks, outcome: str
) -> None:
    said = container.apply(["cus_1"], account=None, livemode=False, cause=Cause(event="evt_1"))
    assert (said, marks.marked) == (outcome, MARKED[outcome])


def test_a_sweep_marks_what_was_confirmed_and_not_what_was_queued(
    container: Container, marks: Marks, outcome: str
) -> None:
    applier = Applier(container.cache.engine, None)
    assert applier.apply([EVENT])
    assert marks.marked == MARKED[outcome]
