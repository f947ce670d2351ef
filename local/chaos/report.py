"""The table, and what each fault did wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.chaos.outcome import Outcome

HEADER = (
    f"{'fault':<16} {'load held':>13} {'failed':>6} {'added ms: median':>16} {'worst':>8} {'(warm)':>7} "
    f"{'recovered':>9} {'confirmed':>9} {'queued':>6} {'lost':>5}  what"
)


def row(outcome: Outcome) -> str:
    """Return one line of the table."""
    recovered = "never" if outcome.recovered is None else f"{outcome.recovered:.1f} s"
    load = f"{outcome.done:.0f} of {outcome.offered:.0f}/s"
    return (
        f"{outcome.fault.name:<16} {load:>13} {outcome.failed:>6} {outcome.added.median:>16.2f} "
        f"{outcome.added.worst:>8.1f} {outcome.warm.worst:>7.1f} {recovered:>9} {outcome.verdict.confirmed:>9} "
        f"{outcome.verdict.queued:>6} {outcome.missing:>5}  {outcome.fault.what}"
    )


def problems(outcomes: Iterable[Outcome]) -> list[str]:
    """Return everything that must not be."""
    return [problem for outcome in outcomes for problem in outcome.problems]
