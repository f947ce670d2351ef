"""Lost events: reads Stripe's own list of events and applies what it finds, delivered or not.

Stripe lists events newest first and cannot list them the other way, but it pages backwards: `ending_before` an event
gives the ones right after it. So a sweep starts at the event its cursor names and walks towards now, oldest page
first: what a small request budget leaves over is the newest, which the next sweep reads.

The list is not strictly ordered while it is young, so the cursor stays `OVERLAP` seconds behind, and the events
beyond it are read again and told apart by their ids. What is read is applied page by page when all is read, and the
cursor moves after each: who runs out of time in the middle goes on there. A record is voided once in a run, however
many events name it: an invalidation holds for everything that happened before it. Events that a webhook has applied
are known by their marks (`seen.py`) and passed over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stripe_cache.core import metrics
from stripe_cache.core.applying import Applier
from stripe_cache.core.cursor import BadCursorError, Cursor
from stripe_cache.core.errors import StripeCacheError

if TYPE_CHECKING:
    from stripe_cache.core.cursor import CursorStore
    from stripe_cache.core.engine import Engine

LONGEST_WINDOW = 30 * 86400.0 - 3600.0
"""Stripe lists events for 30 days. A sweep without a usable cursor goes back as far as anything cached can be old, and
at most this far."""
OVERLAP = 300.0
UNDELIVERED_EVERY = 3600.0
PAGE = 100
DEFAULT_CALLS = 10
UNDELIVERED_PAGES = 5

log = logging.getLogger("stripe_cache")

ListEvents = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Asks GET /v1/events past the cache and returns the list; raises EventsUnavailableError and EventGoneError."""


class EventsUnavailableError(StripeCacheError):
    """Stripe did not list its events; what was read before that is applied all the same."""


class EventGoneError(StripeCacheError):
    """The event that the cursor names is not there any more: Stripe keeps them for 30 days."""


@dataclass(slots=True)
class Sweep:
    """What one run did. `records` were voided for `applied` events; `lag` is how old the first unread event may be.

    `repeated` events had been applied before by somebody else.
    """

    pages: int = 0
    applied: int = 0
    skipped: int = 0
    records: int = 0
    lag: float = 0.0
    restarted: bool = False
    finished: bool = False
    interrupted: str = ""
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class _Page:
    """Events as one request listed them, and the cursor that is right once they and all before are applied."""

    events: list[Mapping[str, Any]]
    cursor: Cursor
    lag: float


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

    def run(
        self,
        calls: int = DEFAULT_CALLS,
        may_read: Callable[[], bool] = lambda: True,
        may_apply: Callable[[], bool] = lambda: True,
    ) -> Sweep:
        """Read with at most `calls` requests while `may_read`, apply while `may_apply`, and move the cursor after that.

        A crash anywhere repeats work. Raises InvalidationError if a shared tier could not be told and no outbox took
        it, TierError if the cursor could not be read or kept, and EventsUnavailableError if Stripe listed nothing.
        """
        sweep, now = Sweep(), self._engine.clock.now()
        window = min(self._engine.planner.longest_life, LONGEST_WINDOW)
        cursor = self._load(sweep)

        def ask(**params: Any) -> list[Mapping[str, Any]] | None:
            """Return the events of a page, None when it must not or cannot be asked."""
            if sweep.interrupted or sweep.pages >= calls or not may_read():
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
            pages = self._walk(cursor, sweep, ask, now - window)
        except EventGoneError:
            self._restart(sweep, "the event it names has expired")
            pages = self._walk(None, sweep, ask, now - window)
        finished = sweep.finished
        last = pages[-1]
        if not finished or sweep.restarted or now - last.cursor.undelivered_at >= UNDELIVERED_EVERY:
            pages += self._undelivered(last, sweep, ask, now, window)
        sweep.finished = finished
        self._apply(pages, sweep, now, may_apply)
        self._engine.meter.count(metrics.RECONCILE_SWEPT)
        return sweep

    def _walk(self, cursor: Cursor | None, sweep: Sweep, ask: Callable[..., Any], since: float) -> list[_Page]:
        now, lag = self._engine.clock.now(), 0.0
        if cursor is None:
            lag = now - since
            cursor = Cursor(since=since)
            anchor = ask(limit=1, created={"lt": int(cursor.since)})
            sweep.finished = False
            cursor = replace(cursor, after=anchor[0]["id"] if anchor else "")
        # The first stands for where this run begins.
        pages = [_Page([], cursor, lag)]
        (self._climb if cursor.after else self._descend)(pages, sweep, ask, now)
        return pages

    def _climb(self, pages: list[_Page], sweep: Sweep, ask: Callable[..., Any], now: float) -> None:
        """Walk from the cursor's event towards now."""
        cursor = pages[-1].cursor
        newest = cursor.after
        while (page := ask(limit=PAGE, ending_before=newest)) is not None:
            settled = [event["id"] for event in page if _created(event) <= now - OVERLAP]
            if settled:
                cursor = replace(cursor, after=settled[0])
            if sweep.finished or not page:
                sweep.finished = True
                pages.append(_Page(page, cursor, 0.0))
                break
            newest = page[0]["id"]
            pages.append(_Page(page, cursor, max(0.0, now - _created(page[0]))))

    def _descend(self, pages: list[_Page], sweep: Sweep, ask: Callable[..., Any], now: float) -> None:
        """Walk from now back to `since`: an account without an older event gives nothing to climb from."""
        cursor = pages[-1].cursor
        lag = max(0.0, now - cursor.since)
        while True:
            behind = {"starting_after": cursor.below} if cursor.below else {}
            page = ask(limit=PAGE, created={"gte": int(cursor.since)}, **behind)
            if page is None:
                return
            settled = next((event["id"] for event in page if _created(event) <= now - OVERLAP), "")
            cursor = replace(cursor, settled=cursor.settled or settled, below=page[-1]["id"] if page else "")
            if sweep.finished or not page:
                sweep.finished = True
                # Without a settled event the next sweep descends again, and knows by their ids what it has seen.
                pages.append(_Page(page, replace(cursor, after=cursor.settled, settled="", below=""), 0.0))
                return
            pages.append(_Page(page, cursor, lag))

    def _undelivered(
        self, last: _Page, sweep: Sweep, ask: Callable[..., Any], now: float, window: float
    ) -> list[_Page]:
        """Read what no endpoint took, newest first: events that were listed so late that the cursor was past them."""
        pages: list[_Page] = []
        behind: dict[str, str] = {}
        cursor = replace(last.cursor, undelivered_at=now)
        while len(pages) < UNDELIVERED_PAGES:
            page = ask(limit=PAGE, delivery_success="false", created={"gte": int(now - window)}, **behind)
            if page is None:
                break
            pages.append(_Page(page, cursor, last.lag))
            if sweep.finished or not page:
                break
            behind = {"starting_after": page[-1]["id"]}
        return pages

    def _apply(self, pages: list[_Page], sweep: Sweep, now: float, may_apply: Callable[[], bool]) -> None:
        """Apply page by page what was not seen before, and keep the cursor of the last page that was done with."""
        done, seen = pages[0], dict.fromkeys(pages[0].cursor.seen)
        applied: list[Mapping[str, Any]] = []
        applier = Applier(self._engine, self._account)
        try:
            for page in pages[1:]:
                fresh = {event["id"]: event for event in page.events if event["id"] not in seen}
                if not applier.apply(list(fresh.values()), may_apply):
                    sweep.interrupted = sweep.interrupted or "there was no time to apply all that was read"
                    sweep.finished = False
                    break
                done = page
                applied += page.events
                seen |= dict.fromkeys(fresh)
        finally:
            # Also when a tier could not be told: what comes before is applied and need not be again.
            sweep.applied, sweep.repeated = applier.applied, applier.repeated
            sweep.skipped, sweep.records, sweep.lag = applier.skipped, applier.records, done.lag
            self._engine.meter.count(metrics.RECONCILE_APPLIED, sweep.applied)
            self._engine.meter.observe(metrics.RECONCILE_LAG, sweep.lag * 1000)
            self._save(replace(done.cursor, seen=pages[0].cursor.seen), applied, now)

    def _save(self, cursor: Cursor, applied: list[Mapping[str, Any]], now: float) -> None:
        newest_first = sorted(applied, key=_created, reverse=True)
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
        log.warning("the sweep of events starts over, as far back as anything cached is old, because %s", reason)


def _created(event: Mapping[str, Any]) -> float:
    created = event.get("created")
    return float(created) if isinstance(created, int | float) else 0.0
