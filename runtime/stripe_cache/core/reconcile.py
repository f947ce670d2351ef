"""Lost events: reads Stripe's own list of events and applies what it finds, delivered or not.

Stripe lists events newest first and cannot list them the other way, but it pages backwards: `ending_before` an event
gives the ones right after it. So a sweep starts at the event its cursor names and walks towards now, oldest page
first: what a small request budget leaves over is the newest, which the next sweep reads.

The list is not strictly ordered while it is young, so the cursor stays `OVERLAP` seconds behind, and the events
beyond it are read again and told apart by their ids. Everything read is applied at once at the end: an invalidation
holds for every event that happened before it, so a burst of events for one object costs one invalidation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from stripe_cache.core import metrics
from stripe_cache.core.cursor import BadCursorError, Cursor
from stripe_cache.core.errors import NotAnEventError, StripeCacheError
from stripe_cache.core.events import affected

if TYPE_CHECKING:
    from stripe_cache.core.cursor import CursorStore
    from stripe_cache.core.engine import Engine

FIRST_WINDOW = 86400.0
"""Seconds that a sweep without a usable cursor goes back: the longest TTL with events that the policy ships with, so
that what is older has been read anew since."""
OVERLAP = 300.0
UNDELIVERED_EVERY = 3600.0
PAGE = 100
DEFAULT_CALLS = 10
_RECORDS_PER_STEP = 50
"""Records voided at once: a tier's deadline is meant for a handful."""

log = logging.getLogger("stripe_cache")

ListEvents = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Asks GET /v1/events past the cache and returns the list; raises EventsUnavailableError and EventGoneError."""


class EventsUnavailableError(StripeCacheError):
    """Stripe did not list its events; what was read before that is applied all the same."""


class EventGoneError(StripeCacheError):
    """The event that the cursor names is not there any more: Stripe keeps them for 30 days."""


@dataclass(slots=True)
class Sweep:
    """What one run did. `records` were voided for `applied` events; `lag` is how old the first unread event may be."""

    pages: int = 0
    applied: int = 0
    skipped: int = 0
    records: int = 0
    lag: float = 0.0
    restarted: bool = False
    finished: bool = False
    interrupted: str = ""
    found: list[Mapping[str, Any]] = field(default_factory=list, repr=False)


class Reconciler:
    """Sweeps one namespace's events. Not for concurrent use; two processes may sweep the same one at once."""

    def __init__(
        self, engine: Engine, cursors: CursorStore, list_events: ListEvents, namespace: str, *, account: str | None
    ) -> None:
        self._engine = engine
        self._cursors = cursors
        self._list_events = list_events
        self._namespace = namespace
        self._account = account

    def run(self, calls: int = DEFAULT_CALLS, may_go_on: Callable[[], bool] = lambda: True) -> Sweep:
        """Read with at most `calls` requests while `may_go_on`, apply, and only then move the cursor.

        A crash anywhere repeats work. Raises InvalidationError if a shared tier could not be told, TierError if the
        cursor could not be read or kept, and EventsUnavailableError if Stripe listed nothing at all.
        """
        sweep, now = Sweep(), self._engine.clock.now()
        cursor = self._load(sweep)

        def ask(**params: Any) -> list[Mapping[str, Any]] | None:
            """Return the events of a page, None when it must not or cannot be asked."""
            if sweep.interrupted or sweep.pages >= calls or not may_go_on():
                return None
            try:
                answer = self._list_events(params)
            except EventsUnavailableError as error:
                if not sweep.pages:
                    raise
                sweep.interrupted = str(error)
                return None
            sweep.pages += 1
            self._engine.meter.count(metrics.RECONCILE_PAGES)
            sweep.finished = not answer.get("has_more")
            return [event for event in answer.get("data", ()) if isinstance(event.get("id"), str)]

        try:
            cursor = self._walk(cursor, sweep, ask, now)
        except EventGoneError:
            self._restart(sweep, "the event it names has expired")
            cursor = self._walk(None, sweep, ask, now)
        behind = not sweep.finished
        if (behind or sweep.restarted or now - cursor.undelivered_at >= UNDELIVERED_EVERY) and (
            page := ask(limit=PAGE, delivery_success="false", created={"gte": int(now - FIRST_WINDOW)})
        ) is not None:
            sweep.found.extend(page)
            cursor = replace(cursor, undelivered_at=now)
        sweep.finished = not behind
        self._apply(sweep, cursor)
        self._save(cursor, sweep, now)
        return sweep

    def _walk(self, cursor: Cursor | None, sweep: Sweep, ask: Callable[..., Any], now: float) -> Cursor:
        if cursor is None:
            cursor = Cursor(since=now - FIRST_WINDOW)
            anchor = ask(limit=1, created={"lt": int(cursor.since)})
            sweep.finished = False
            cursor = replace(cursor, after=anchor[0]["id"] if anchor else "")
        return self._climb(cursor, sweep, ask, now) if cursor.after else self._descend(cursor, sweep, ask, now)

    def _climb(self, cursor: Cursor, sweep: Sweep, ask: Callable[..., Any], now: float) -> Cursor:
        """Walk from the cursor's event towards now."""
        newest = cursor.after
        while (page := ask(limit=PAGE, ending_before=newest)) is not None:
            sweep.found.extend(page)
            settled = [event["id"] for event in page if _created(event) <= now - OVERLAP]
            if settled:
                cursor = replace(cursor, after=settled[0])
            if sweep.finished or not page:
                sweep.finished, sweep.lag = True, 0.0
                break
            newest = page[0]["id"]
            sweep.lag = max(0.0, now - _created(page[0]))
        return cursor

    def _descend(self, cursor: Cursor, sweep: Sweep, ask: Callable[..., Any], now: float) -> Cursor:
        """Walk from now back to `since`: an account without an older event gives nothing to climb from."""
        sweep.lag = max(0.0, now - cursor.since)
        while True:
            behind = {"starting_after": cursor.below} if cursor.below else {}
            page = ask(limit=PAGE, created={"gte": int(cursor.since)}, **behind)
            if page is None:
                return cursor
            sweep.found.extend(page)
            settled = next((event["id"] for event in page if _created(event) <= now - OVERLAP), "")
            cursor = replace(cursor, settled=cursor.settled or settled, below=page[-1]["id"] if page else "")
            if sweep.finished or not page:
                sweep.finished, sweep.lag = True, 0.0
                # Without a settled event the next sweep descends again, and knows by their ids what it has seen.
                return replace(cursor, after=cursor.settled, settled="", below="")

    def _apply(self, sweep: Sweep, cursor: Cursor) -> None:
        """Void what the events that were not seen before say, each record once."""
        seen = set(cursor.seen)
        wanted: dict[tuple[str | None, bool | None], set[str]] = {}
        for event in sweep.found:
            if event["id"] in seen:
                continue
            seen.add(event["id"])
            try:
                found = affected(event)
            except NotAnEventError as error:
                sweep.skipped += 1
                log.warning("%s in the list of events was not applied: %s", event["id"][:60], error)
                continue
            sweep.applied += 1
            wanted.setdefault((found.account or self._account, found.livemode), set()).update(found.records)
        for (account, livemode), names in wanted.items():
            ordered = sorted(names)
            sweep.records += len(ordered)
            for start in range(0, len(ordered), _RECORDS_PER_STEP):
                step = ordered[start : start + _RECORDS_PER_STEP]
                self._engine.invalidate(step, account=account, livemode=livemode)
        self._engine.meter.count(metrics.RECONCILE_APPLIED, sweep.applied)
        self._engine.meter.observe(metrics.RECONCILE_LAG, sweep.lag * 1000)

    def _save(self, cursor: Cursor, sweep: Sweep, now: float) -> None:
        newest_first = sorted(sweep.found, key=_created, reverse=True)
        ids = dict.fromkeys([*(event["id"] for event in newest_first), *cursor.seen])
        self._cursors.save(self._namespace, replace(cursor, seen=tuple(ids)).dump(), now)

    def _load(self, sweep: Sweep) -> Cursor | None:
        text = self._cursors.load(self._namespace)
        try:
            return Cursor.load(text) if text is not None else None
        except BadCursorError as error:
            self._restart(sweep, str(error))
            return None

    def _restart(self, sweep: Sweep, reason: str) -> None:
        sweep.restarted = True
        self._engine.meter.count(metrics.RECONCILE_RESTARTED)
        log.warning("the sweep of events starts over, a day back, because %s", reason)


def _created(event: Mapping[str, Any]) -> float:
    created = event.get("created")
    return float(created) if isinstance(created, int | float) else 0.0
