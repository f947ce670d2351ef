"""Telling tiers what they missed, from the outbox, until they confirm it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from stripe_cache.core import metrics
from stripe_cache.core.errors import InvalidationError, StripeCacheError, TierError
from stripe_cache.core.outbox import COLLAPSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stripe_cache.core.invalidator import Invalidator
    from stripe_cache.core.outbox import Missed
    from stripe_cache.core.ports import Meter

_ENTRIES_PER_STEP = 25

log = logging.getLogger("stripe_cache")


class Entry(NamedTuple):
    """One thing kept: what was missed, and the words under which its outbox forgets just this."""

    missed: Missed
    handle: str


class ReplayableOutbox(Protocol):
    """An outbox that can be read. Thread-safe; raises TierError."""

    def entries(self, namespace: str) -> list[Entry]:
        """Read everything kept for a namespace, perhaps with what the same place keeps for others."""
        ...

    def forget(self, namespace: str, entries: Sequence[Entry]) -> None:
        """Remove these, and nothing that was put in since; those that are gone already do not matter."""
        ...


Names = dict[str, "Callable[[str], Iterator[list[str]]]"]
"""By tier: lists the names of all records of a namespace that the tier holds, page by page. May raise TierError."""


@dataclass(slots=True)
class Replayed:
    """What one run did: entries confirmed and forgotten, entries left, and why they were."""

    confirmed: int = 0
    left: int = 0
    failure: str = ""


class Replayer:
    """Replays a readable outbox. Safe to run in several processes at once: they repeat each other's work."""

    def __init__(self, outbox: ReplayableOutbox, invalidator: Invalidator, names: Names, meter: Meter) -> None:
        self._outbox = outbox
        self._invalidator = invalidator
        self._names = names
        self._meter = meter

    def run(self, namespace: str, may_go_on: Callable[[], bool] = lambda: True) -> Replayed:
        """Tell each tier what the entries say it missed, each record of a namespace once, while there is time.

        Forgets an entry after the tiers confirmed it: who crashes in between leaves it to be told again. Raises
        TierError if the outbox itself cannot be read.
        """
        found = self._outbox.entries(namespace)
        report = Replayed(left=len(found))
        if not found:
            return report
        # Everything in a tier covers all that was put down about that tier before the search began.
        collapsed: dict[str, list[Entry]] = {one.missed.namespace: [] for one in found if one.missed.is_everything}
        alike: dict[tuple[str, tuple[str, ...]], list[Entry]] = {}
        for one in found:
            place = one.missed.namespace
            if place in collapsed and one.missed.tiers == COLLAPSED:
                collapsed[place].append(one)
            else:
                alike.setdefault((place, tuple(sorted(one.missed.tiers))), []).append(one)
        for place, covered in collapsed.items():
            self._attempt(report, partial(self._tell_everything, place, covered, report, may_go_on))
        for (place, tiers), entries in alike.items():
            # One tier that is away, or that this process does not know, keeps no other one waiting.
            self._attempt(report, partial(self._tell, place, tiers, entries, report, may_go_on))
        self._meter.count(metrics.OUTBOX_REPLAYED, report.confirmed)
        self._meter.count(metrics.OUTBOX_LEFT, report.left)
        return report

    def _attempt(self, report: Replayed, work: Callable[[], None]) -> None:
        try:
            work()
        except (InvalidationError, TierError) as error:
            report.failure = str(error)[:300]
            log.warning("what a tier missed stays in the outbox: %s", report.failure)

    def _tell(
        self,
        namespace: str,
        tiers: tuple[str, ...],
        entries: list[Entry],
        report: Replayed,
        may_go_on: Callable[[], bool],
    ) -> None:
        told: set[str] = set()
        for start in range(0, len(entries), _ENTRIES_PER_STEP):
            step = entries[start : start + _ENTRIES_PER_STEP]
            # A record that several entries name is told once: all of them were put down before this began.
            names = {name for one in step for name in one.missed.records} - told
            if not self._invalidator.replay(namespace, sorted(names), tiers, may_go_on):
                return
            told |= names
            self._forget(namespace, step, report)

    def _tell_everything(
        self, namespace: str, covered: list[Entry], report: Replayed, may_go_on: Callable[[], bool]
    ) -> None:
        for tier in COLLAPSED:
            if tier not in self._names:
                raise TierError(f"{tier}: this process does not know the tier, and cannot tell it what it missed")
            for page in self._names[tier](namespace):
                if not self._invalidator.replay(namespace, page, (tier,), may_go_on):
                    return
        # A record that Redis has evicted is on no page, and a memory may still hold a copy of it:
        #   memory: holds C, saw the count 7     Redis: evicts C     replay: finds no C, forgets     count: still 7
        # Unless the count moves after the last page, that memory goes on trusting its copy until the TTL.
        self._invalidator.count_as_told(namespace, COLLAPSED)
        self._forget(namespace, covered, report)

    def _forget(self, namespace: str, entries: Sequence[Entry], report: Replayed) -> None:
        self._outbox.forget(namespace, entries)
        report.confirmed += len(entries)
        report.left -= len(entries)


def replay_all(
    replayer: Replayer | None, namespaces: Sequence[str], may_go_on: Callable[[], bool] = lambda: True
) -> dict[str, Replayed]:
    """Replay every namespace; one whose outbox cannot be read is reported as failed and keeps nobody else waiting."""
    reports = {}
    for namespace in namespaces if replayer is not None else ():
        try:
            reports[namespace] = replayer.run(namespace, may_go_on) if replayer else Replayed()
        except StripeCacheError as error:
            reports[namespace] = Replayed(failure=str(error)[:300])
            log.warning("the outbox of %s could not be read: %s", namespace, error)
    return reports
