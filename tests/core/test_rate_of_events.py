"""How many events a second the deployed sweep keeps up with, and what one that fell behind does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stripe_cache import Settings
from stripe_cache.core.cursor import Cursor
from stripe_cache.core.reconcile import DEFAULT_CALLS, OVERLAP, PAGE, UNDELIVERED_EVERY, Reconciler, Sweep
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY = 300.0
KEEPS_UP_WITH = PAGE * DEFAULT_CALLS / (EVERY + OVERLAP)


class Stream:
    """An account in which `rate` events happen every second, its cursor, and a clock that is set.

    The list is a function of time: nothing is kept of what is not asked for.
    """

    def __init__(self, rate: float, *, behind: float = 0.0) -> None:
        self.rate, self.start = rate, 1.8e9
        self.time = self.start + 86_400.0
        self.asked: list[str] = []
        self.undelivered: list[dict[str, Any]] = []
        self.engine = build(Settings(namespace="acct_1", events=True, rate_limits=None), clock=self)
        after = self._newest() - int((OVERLAP + behind) * rate)
        self.kept: str | None = Cursor(after=f"evt_{after}", undelivered_at=self.time).dump()

    def now(self) -> float:
        return self.time

    monotonic = now

    def load(self, _: str) -> str | None:
        return self.kept

    def save(self, _: str, text: str, now: float) -> None:
        del now
        self.kept = text

    def _newest(self) -> int:
        return int((self.time - self.start) * self.rate) - 1

    def _event(self, number: int) -> dict[str, Any]:
        body = {"id": f"cus_{number % 20}", "object": "customer"}
        event = {"id": f"evt_{number}", "object": "event", "type": "customer.updated", "data": {"object": body}}
        return event | {"created": int(self.start + number / self.rate), "livemode": False}

    def list_events(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        if "delivery_success" in params:
            self.asked.append("undelivered")
            return {"data": self.undelivered, "has_more": False}
        self.asked.append("page")
        first = int(params["ending_before"].removeprefix("evt_")) + 1
        last = min(self._newest(), first + PAGE - 1)
        return {"data": [self._event(n) for n in range(last, first - 1, -1)], "has_more": last < self._newest()}

    def sweep(self, calls: int = DEFAULT_CALLS) -> Sweep:
        self.asked = []
        self.time += EVERY
        return Reconciler(self.engine, self, self.list_events, "acct_1.test", account=None).run(calls)


@pytest.mark.parametrize("rate", [1.0, 0.95 * KEEPS_UP_WITH])
def test_a_sweep_every_five_minutes_keeps_up(rate: float) -> None:
    stream = Stream(rate)
    for _ in range(2):
        sweep = stream.sweep()
        assert (sweep.finished, sweep.lag) == (True, 0.0)
        assert sweep.pages <= rate * (EVERY + OVERLAP) / PAGE + 1, "it reads what there is, and no more"


def test_one_that_fell_behind_catches_up_with_a_batch_in_memory_at_a_time() -> None:
    stream = Stream(3.0, behind=3600.0)
    lags = [stream.sweep().lag for _ in range(3)]
    assert lags[0] > lags[1] >= lags[2] == 0.0


def test_beyond_that_rate_it_falls_behind_and_says_how_far() -> None:
    stream = Stream(1.2 * KEEPS_UP_WITH)
    sweeps = [stream.sweep() for _ in range(2)]
    assert not any(sweep.finished for sweep in sweeps)
    assert sweeps[0].lag > 0


@pytest.mark.parametrize("calls", [1, 3])
def test_what_could_not_be_delivered_has_its_turn_in_a_sweep_that_is_behind_and_so_has_the_rest(calls: int) -> None:
    stream = Stream(2.0)
    stream.undelivered = [stream._event(-5) | {"data": {"object": {"id": "cus_lost", "object": "customer"}}}]
    asked: list[str] = []
    for _ in range(int(2 * UNDELIVERED_EVERY / EVERY)):
        assert not stream.sweep(calls).finished
        asked += stream.asked
    assert asked.count("undelivered") == 2
    assert asked.count("page") == len(asked) - 2 > 0
