"""Applying many events at once: each event once, each record once, and what others have applied not at all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from stripe_cache.core import metrics
from stripe_cache.core.errors import InvalidationError, RequestError
from stripe_cache.core.events import affected
from stripe_cache.core.invalidator import STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stripe_cache.core.engine import Engine
    from stripe_cache.core.events import Affected

_Place = tuple[str, ...]
"""The namespaces in which an event is told."""

log = logging.getLogger("stripe_cache")


class Applier:
    """Applies events that were all read before the first is applied: only so does one void serve all of them.

    `account` is meant where an event names none. Not thread-safe; for one run.
    """

    def __init__(self, engine: Engine, account: str | None) -> None:
        self._engine = engine
        self._account = account
        self._voided: dict[str, set[str]] = {}
        self._unconfirmed: set[str] = set()
        self.applied = self.repeated = self.skipped = self.records = 0

    def apply(self, events: Sequence[Mapping[str, Any]], may_go_on: Callable[[], bool] = lambda: True) -> bool:
        """Void what the events name, and mark them; False if time ran out before all was done.

        Raises InvalidationError if a shared tier could not be told and no outbox took what is left.
        """
        groups: dict[_Place, list[Affected]] = {}
        skipped = 0
        for event in events:
            try:
                found = affected(event)
                place = tuple(self._engine.places_of(found, self._account))
            except RequestError as error:
                skipped += 1
                log.warning("%s in the list of events was not applied: %s", str(event.get("id"))[:60], error)
                continue
            groups.setdefault(place, []).append(found)
        for place, group in groups.items():
            if not self._apply_group(place, group, may_go_on):
                return False
        self.skipped += skipped
        return True

    def _apply_group(self, place: _Place, group: Sequence[Affected], may_go_on: Callable[[], bool]) -> bool:
        engine = self._engine
        known = engine.seen.known(place, [one.event_id for one in group]) if engine.seen else set()
        named: dict[str, set[str]] = {namespace: set() for namespace in place}
        for one in group:
            if one.event_id not in known:
                for namespace, records in engine.places_of(one, self._account).items():
                    named[namespace].update(records)
        for namespace in place:
            named[namespace] -= self._voided.setdefault(namespace, set())
            if not self._void(namespace, sorted(named[namespace]), may_go_on):
                return False
        if self._unconfirmed.isdisjoint(place):
            # Marked in every namespace, and known only where it is in all: an event that one of them missed is applied
            # again. The known ones too, so that what Stripe keeps listing as undelivered stays known.
            if engine.seen:
                engine.seen.mark(place, [one.event_id for one in group])
            if engine.heat:
                for namespace in place:
                    engine.heat.refresh([namespace], sorted(named[namespace]))
        repeated = sum(one.event_id in known for one in group)
        self.repeated += repeated
        self.applied += len(group) - repeated
        engine.meter.count(metrics.EVENT_REPEATED, repeated)
        return True

    def _void(self, namespace: str, names: Sequence[str], may_go_on: Callable[[], bool]) -> bool:
        for start in range(0, len(names), STEP):
            if not may_go_on():
                return False
            step = names[start : start + STEP]
            try:
                self._engine.void({namespace: step})
            except InvalidationError as error:
                if not error.queued:
                    raise
                self._unconfirmed.add(namespace)
            self._voided[namespace].update(step)
            self.records += len(step)
        return True
