"""Applying many events at once: each event once, each record once, and what others have applied not at all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from stripe_cache.core import metrics
from stripe_cache.core.errors import InvalidationError, NotAnEventError
from stripe_cache.core.events import affected
from stripe_cache.core.invalidator import STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stripe_cache.core.engine import Engine
    from stripe_cache.core.events import Affected

_Place = tuple[str | None, bool | None]

log = logging.getLogger("stripe_cache")


class Applier:
    """Applies events that were all read before the first is applied: only so does one void serve all of them.

    `account` is meant where an event names none. Not thread-safe; for one run.
    """

    def __init__(self, engine: Engine, account: str | None) -> None:
        self._engine = engine
        self._account = account
        self._voided: dict[_Place, set[str]] = {}
        self._unconfirmed: set[_Place] = set()
        self.applied = self.repeated = self.skipped = self.records = 0

    def apply(self, events: Sequence[Mapping[str, Any]], may_go_on: Callable[[], bool] = lambda: True) -> bool:
        """Void what the events name, and mark them; False if time ran out before all was done.

        Raises InvalidationError if a shared tier could not be told and no outbox took what is left.
        """
        places: dict[_Place, list[Affected]] = {}
        skipped = 0
        for event in events:
            try:
                found = affected(event)
            except NotAnEventError as error:
                skipped += 1
                log.warning("%s in the list of events was not applied: %s", str(event.get("id"))[:60], error)
                continue
            places.setdefault((found.account or self._account, found.livemode), []).append(found)
        for place, group in places.items():
            if not self._apply_group(place, group, may_go_on):
                return False
        self.skipped += skipped
        return True

    def _apply_group(self, place: _Place, group: Sequence[Affected], may_go_on: Callable[[], bool]) -> bool:
        account, livemode = place
        engine, namespaces = self._engine, self._engine.planner.namespaces(account, livemode=livemode)
        known = engine.seen.known(namespaces, [one.event_id for one in group]) if engine.seen else set()
        told = self._voided.setdefault(place, set())
        names = sorted({name for one in group if one.event_id not in known for name in one.records} - told)
        for start in range(0, len(names), STEP):
            if not may_go_on():
                return False
            step = names[start : start + STEP]
            try:
                engine.invalidate(step, account=account, livemode=livemode)
            except InvalidationError as error:
                if not error.queued:
                    raise
                self._unconfirmed.add(place)
            told.update(step)
            self.records += len(step)
        if engine.seen and place not in self._unconfirmed:
            # The known ones too, so that what Stripe keeps listing as undelivered stays known.
            engine.seen.mark(namespaces, [one.event_id for one in group])
        if engine.heat and place not in self._unconfirmed:
            engine.heat.refresh(namespaces, names)
        repeated = sum(one.event_id in known for one in group)
        self.repeated += repeated
        self.applied += len(group) - repeated
        engine.meter.count(metrics.EVENT_REPEATED, repeated)
        return True
