"""Refreshing after an event what is read often, so that no reader waits for it. Off unless asked for.

Readers note an object's variant in Redis when it is hit again and again, at most once a minute and process. Whoever has
applied an event takes the notes of the records it voided and asks for a refresh in the queue, a few seconds later, so
that the other events of the same change are void before it is read. Taking a note removes it: of a burst of events the
first asks, and what nobody reads afterwards is not read from Stripe again.

Only plain reads of objects are noted: the queries of lists may hold what callers filter by.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from stripe_cache.core import metrics
from stripe_cache.core.breaker import Breaker
from stripe_cache.core.errors import TierError
from stripe_cache.core.refresh import message_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.ports import Meter
    from stripe_cache.core.refresh import Refresher

HOT_HITS = 3
"""Hits within a minute, in one process, that make a variant worth a note."""
WINDOW = 60.0
NOTE_TTL = 600
MOST_VARIANTS = 8
DELAY = 3
"""Seconds between the event and the refresh. Stripe sends the events of one change within a second or two."""
_MOST_RECORDS = 50
_KEPT = 4096

log = logging.getLogger("stripe_cache")


class HeatNotes(Protocol):
    """Where notes are kept. Thread-safe; raises TierError."""

    def note(self, namespace: str, record: str, variant: str, text: str) -> None:
        """Keep a note of one variant of a record for NOTE_TTL seconds; MOST_VARIANTS of a record at most."""
        ...

    def take(self, namespace: str, records: Sequence[str]) -> list[str]:
        """Return the notes of these records and remove them, so that only one caller gets each."""
        ...


class Heat:
    """Notes what is hot, and has it refreshed. Thread-safe; never raises."""

    def __init__(self, notes: HeatNotes, refresher: Refresher, clock: Clock, meter: Meter) -> None:
        self._notes = notes
        self._refresher = refresher
        self._clock = clock
        self._meter = meter
        self._breaker = Breaker(clock)
        self._lock = Lock()
        self._hits: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def hit(self, plan: Plan) -> None:
        """Count a hit; the third within a minute sends the note. Costs a round trip then, and none otherwise."""
        key = plan.key
        if key.record.startswith("/"):
            return
        name, now = (key.namespace, key.variant), self._clock.monotonic()
        with self._lock:
            began, hits = self._hits.get(name, (now, 0))
            if now - began >= WINDOW:
                began, hits = now, 0
            self._hits[name] = (began, hits + 1)
            self._hits.move_to_end(name)
            if len(self._hits) > _KEPT:
                self._hits.popitem(last=False)
        if hits + 1 != HOT_HITS or not self._breaker.admits():
            return
        try:
            self._notes.note(key.namespace, key.record, key.variant, json.dumps(message_of(plan)))
        except TierError:
            self._breaker.failed(was_slow=True)
        else:
            self._breaker.succeeded()

    def refresh(self, namespaces: Sequence[str], records: Sequence[str]) -> None:
        """Ask for refreshes of what is hot of these records: only after every tier has confirmed that they are void."""
        objects = [record for record in records if not record.startswith("/")][:_MOST_RECORDS]
        if not objects or not self._breaker.admits():
            return
        try:
            texts = [text for namespace in namespaces for text in self._notes.take(namespace, objects)]
        except TierError as error:
            self._breaker.failed(was_slow=True)
            log.warning("what is hot could not be asked: %s", error)
            self._meter.count(metrics.REFRESH_SKIPPED)
            return
        self._breaker.succeeded()
        for text in texts:
            message = _message(text)
            if message is None or not self._refresher.send(message | {"hot": True}, DELAY):
                self._meter.count(metrics.REFRESH_SKIPPED)


def _message(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    # Whoever else writes to Redis: the handler that gets the message checks it like any input.
    is_ours = isinstance(found, dict) and all(isinstance(found.get(name), str) for name in ("namespace", "variant"))
    return found if is_ours else None
