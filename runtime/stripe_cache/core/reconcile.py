"""Lost events: reads Stripe's own list of events and applies what it finds, delivered or not.

Stripe lists events newest first and cannot list them the other way, but it pages backwards: `ending_before` an event
gives the ones right after it. So a sweep starts at the event its cursor names and walks towards now, oldest page
first: what a small request budget leaves over is the newest, which the next sweep reads.

The list is not strictly ordered while it is young, so the cursor stays `OVERLAP` seconds behind, and the events
beyond it are read again and told apart by their ids. What is read is applied `BATCH` pages at a time, and the cursor
moves after each page: who runs out of time in the middle goes on there. A record is voided once in a batch, however
many events name it: an invalidation holds for everything that happened before it, and so for all that was read before
it. Events that a webhook has applied are known by their marks (`seen.py`) and passed over.

A sweep reads until nothing is left, so what it costs follows from how far it is behind. It ends early when its budget
of requests, its time or Stripe's patience does. What Stripe could not deliver comes first when it is due, or a sweep
that is behind would never come to it. With more than `rate` events per second, an account's sweeps fall behind for
good:

    rate = PAGE * calls / (seconds between two sweeps + OVERLAP)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
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
BATCH = 10
"""Pages held at once, whatever the backlog: events are as large as the objects they tell of, and a Lambda is small."""
DEFAULT_CALLS = 100
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


@dataclass(slots=True)
class _Progress:
    """How far a run has come: the last page that it was done with, and the events it need not apply again."""

    done: _Page
    seen: dict[str, None]
    undelivered_at: float
    young: list[tuple[float, str]] = field(default_factory=list)

    def take(self, page: _Page) -> None:
        """Note that a page was applied."""
        self.done = page
        self.seen |= dict.fromkeys(event["id"] for event in page.events)
        self.young += [(_created(event), event["id"]) for event in page.events]

    def cursor(self) -> Cursor:
        """Return where the next run begins, with the newest events that it will meet again first."""
        newest_first = sorted(self.young, key=lambda one: one[0], reverse=True)
        seen = tuple(dict.fromkeys([*(name for _, name in newest_first), *self.seen]))
        return replace(self.done.cursor, undelivered_at=self.undelivered_at, seen=seen)


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

        walk = self._walk(cursor, sweep, ask, now - window)
        start = next(walk)
        progress = _Progress(start, dict.fromkeys(start.cursor.seen), start.cursor.undelivered_at)
        try:
            if now - progress.undelivered_at >= UNDELIVERED_EVERY:
                pages = self._undelivered(start, sweep, ask, now - window)
                none = not any(page.events for page in pages)
                if pages and (none or self._apply(pages, progress, sweep, may_apply)):
                    progress.undelivered_at = now
            sweep.finished = False
            try:
                self._apply_all(walk, progress, sweep, may_apply)
            except EventGoneError:
                self._restart(sweep, "the event it names has expired")
                walk = self._walk(None, sweep, ask, now - window)
                progress.done = next(walk)
                self._apply_all(walk, progress, sweep, may_apply)
        finally:
            sweep.lag = progress.done.lag
            self._engine.meter.observe(metrics.RECONCILE_LAG, sweep.lag * 1000)
        self._engine.meter.count(metrics.RECONCILE_SWEPT)
        return sweep

    def _walk(self, cursor: Cursor | None, sweep: Sweep, ask: Callable[..., Any], since: float) -> Iterator[_Page]:
        """Read page after page, as they are wanted; the first stands for where this run begins."""
        now, lag = self._engine.clock.now(), 0.0
        if cursor is None:
            lag = now - since
            cursor = Cursor(since=since)
            anchor = ask(limit=1, created={"lt": int(cursor.since)})
            sweep.finished = False
            cursor = replace(cursor, after=anchor[0]["id"] if anchor else "")
        yield _Page([], cursor, lag)
        yield from (self._climb if cursor.after else self._descend)(cursor, sweep, ask, now)

    def _climb(self, cursor: Cursor, sweep: Sweep, ask: Callable[..., Any], now: float) -> Iterator[_Page]:
        """Walk from the cursor's event towards now."""
        newest = cursor.after
        while (page := ask(limit=PAGE, ending_before=newest)) is not None:
            settled = [event["id"] for event in page if _created(event) <= now - OVERLAP]
            if settled:
                cursor = replace(cursor, after=settled[0])
            if sweep.finished or not page:
                sweep.finished = True
                yield _Page(page, cursor, 0.0)
                return
            newest = page[0]["id"]
            yield _Page(page, cursor, max(0.0, now - _created(page[0])))

    def _descend(self, cursor: Cursor, sweep: Sweep, ask: Callable[..., Any], now: float) -> Iterator[_Page]:
        """Walk from now back to `since`: an account without an older event gives nothing to climb from."""
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
                yield _Page(page, replace(cursor, after=cursor.settled, settled="", below=""), 0.0)
                return
            yield _Page(page, cursor, lag)

    def _undelivered(self, start: _Page, sweep: Sweep, ask: Callable[..., Any], since: float) -> list[_Page]:
        """Read what no endpoint took, newest first: events that were listed so late that the cursor was past them."""
        pages: list[_Page] = []
        behind: dict[str, str] = {}
        while len(pages) < UNDELIVERED_PAGES:
            page = ask(limit=PAGE, delivery_success="false", created={"gte": int(since)}, **behind)
            if page is None:
                break
            pages.append(replace(start, events=page))
            if sweep.finished or not page:
                break
            behind = {"starting_after": page[-1]["id"]}
        return pages

    def _apply_all(
        self, walk: Iterator[_Page], progress: _Progress, sweep: Sweep, may_apply: Callable[[], bool]
    ) -> None:
        """Read and apply batch after batch; the cursor is kept also when there is none."""
        while self._apply(batch := list(islice(walk, BATCH)), progress, sweep, may_apply) and batch:
            pass

    def _apply(self, pages: list[_Page], progress: _Progress, sweep: Sweep, may_apply: Callable[[], bool]) -> bool:
        """Apply page by page what was not seen before, and keep the cursor of the last page that was done with.

        False if time ran out.
        """
        # A new one for each batch: it passes over what it has voided, and later pages may tell of later changes.
        applier = Applier(self._engine, self._account)
        try:
            for page in pages:
                fresh = {event["id"]: event for event in page.events if event["id"] not in progress.seen}
                if not applier.apply(list(fresh.values()), may_apply):
                    sweep.interrupted = sweep.interrupted or "there was no time to apply all that was read"
                    sweep.finished = False
                    return False
                progress.take(page)
            return True
        finally:
            # Also when a tier could not be told: what comes before is applied and need not be again.
            sweep.applied += applier.applied
            sweep.repeated += applier.repeated
            sweep.skipped += applier.skipped
            sweep.records += applier.records
            self._engine.meter.count(metrics.RECONCILE_APPLIED, applier.applied)
            self._cursors.save(self._namespace, progress.cursor().dump(), self._engine.clock.now())

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
