"""A few faults for a short time, on the real servers: nothing fails and nothing is lost. `make chaos` runs them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.chaos import flood, report
from local.chaos.faults import FAULTS, Fault
from local.chaos.run import Experiment

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.chaos.world import Servers, Stage

SHORT = {fault.name: fault for fault in FAULTS}
SECONDS = 1.5


@pytest.mark.parametrize("name", ["redis-kill", "stripe-5xx"])
def test_nothing_fails_and_nothing_is_lost(name: str, servers: Servers, say: Callable[[object], None]) -> None:
    outcome = Experiment(servers, SHORT[name], SECONDS, warm=1.5, patience=3.0).run()
    say(f"{report.HEADER}\n{report.row(outcome)}")
    # How soon all is as before is no matter of a machine that runs other tests meanwhile.
    assert not outcome.wrongs
    assert outcome.reads > 100
    assert outcome.verdict.confirmed > 2


def _lie(stage: Stage) -> None:
    """Have Stripe told that everything was applied, and break Stripe where nothing stale is permitted."""
    stage.front.deliver = lambda _headers, _body: 200  # type: ignore[method-assign]
    stage.servers.stripe.configure(faults=[{"kind": "error", "path": "GET"}])


def _mend(stage: Stage) -> None:
    stage.servers.stripe.configure(faults=[])


def test_a_cache_that_loses_invalidations_and_fails_reads_is_found_out(servers: Servers) -> None:
    fault = Fault("planted", "a lie", _lie, _mend, policy={"price": {"ttl": 1, "stale_window": 0}})
    outcome = Experiment(servers, fault, SECONDS, warm=1.5, patience=1.0).run()
    assert outcome.verdict.lost
    assert outcome.failed
    assert len(outcome.wrongs) == 2


def test_a_flood_of_reads_meets_no_limit(servers: Servers, say: Callable[[object], None]) -> None:
    # A test shares its machine with others: a third of the load, and what the callers and Stripe see of it.
    seen = flood.run(servers, 2.0, rate=600.0, processes=3, customers=15)
    say(seen.text())
    assert not seen.problems
    assert seen.done > 100
