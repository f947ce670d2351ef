"""Writes through the client: what they touch is void before they are sent and again after the answer (P3 and P4).

The first void also puts a hold on the records: while it stands, nobody may cache them. Two voids alone would leave a
writer that dies between them: a reader that fetched the old object during the write would keep it. A hold outlives
its writer by minutes.

A write's answer never fills the cache: an idempotent replay repeats what was true once, and Stripe promises for no type
that the next GET, with its own expansions, would answer the same.
"""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stripe_cache.core import catalog, protocol, query
from stripe_cache.core.errors import InvalidationError, RequestError
from stripe_cache.core.events import MOST_RECORDS
from stripe_cache.core.ports import NO_HOLD, HoldChange
from stripe_cache.core.writes import is_read_only, touched_after, touched_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from stripe_cache.core.catalog import Operation
    from stripe_cache.core.clock import Clock
    from stripe_cache.core.invalidator import Invalidator
    from stripe_cache.core.query import Pair

_REDIRECT, _SERVER_ERROR = 300, 500
NOT_SENT = b""
"""The answer of a write that was never sent: it changed nothing, and takes its hold away."""

log = logging.getLogger("stripe_cache")


class Write:
    """One write under way.

    Nothing here raises: a sick cache must not make a write fail, nor look as if it had failed.
    """

    def __init__(
        self,
        invalidator: Invalidator,
        namespace: str,
        method: str,
        url: str,
        form: Any,
        *,
        places: Callable[[Sequence[str]], Mapping[str, Sequence[str]]] = lambda _: {},
    ) -> None:
        """`places` names the other namespaces in which records are void, and which of them are void in each."""
        self._invalidator = invalidator
        self._namespace = namespace
        self._places = places
        self._path = urlsplit(url).path
        self._operation: Operation | None = catalog.match(method, self._path)
        self._pairs = _pairs_of(form)
        self._before = touched_before(self._operation, self._path, self._pairs)
        self._hold = ""
        self._lock = Lock()
        self._ended = False

    @property
    def changes_nothing(self) -> bool:
        """Whether the request only asks something."""
        return is_read_only(self._operation, self._path)

    def begin(self, now: float) -> None:
        """Void what the write is known to touch, and hold it; nothing after the end.

        A cancelled caller may `end` the write on another thread while this still runs or waits for a thread to run on.
        """
        with self._lock:
            if not self._ended:
                self._hold = protocol.new_hold(now)
                for namespace, named in self._spread(self._before).items():
                    self._void(namespace, named, HoldChange(add=self._hold))

    def end(self, body: bytes | str | None) -> None:
        """Void it again, with whatever the answer says was touched besides; `body` is None if no answer came.

        Without an answer the hold stays until it ends by itself. Nobody can say when Stripe will have done it:
            writer: sends, times out, voids     reader: asks, stores the old object     Stripe: performs the write
        """
        after = touched_after(self._operation, self._path, self._pairs, _object_of(body))
        with self._lock:
            self._ended = True
            change = NO_HOLD if body is None else HoldChange(remove=self._hold)
            held = self._spread(self._before)
            for namespace, touched in self._spread(after).items():
                # What is held comes first: nothing but this void takes the hold away.
                first = held.get(namespace, ())
                named = [*first, *_ordered({*touched}.difference(first))]
                self._void(namespace, named[:MOST_RECORDS], change)
                self._postpone(namespace, named[MOST_RECORDS:])

    def _spread(self, records: Sequence[str]) -> dict[str, Sequence[str]]:
        """Name what is void in each namespace; with more records there is never less of it, or a hold would stay."""
        return {self._namespace: records, **self._places(records)}

    def _void(self, namespace: str, records: Sequence[str], change: HoldChange) -> None:
        try:
            self._invalidator.invalidate(namespace, records, change)
        except InvalidationError as error:
            # The tiers that missed it are not read by this process until they have been told (debts.py). Other
            # processes may see the old value until the outbox is replayed; without one, until Stripe's event is.
            missed = ", ".join(error.failed)
            if change.add:
                log.info("a write begins that %s could not be told of; its end is told, or queued", missed)
            elif error.queued:
                log.warning("a write could not be told to %s, and is queued for it", missed)
            else:
                log.warning("a write could not be told to %s, nor queued: the old value may be read there", missed)

    def _postpone(self, namespace: str, records: Sequence[str]) -> None:
        """Leave to an outbox what a monstrous answer names: a write must not wait for thousands of voids."""
        for start in range(0, len(records), MOST_RECORDS):
            step = records[start : start + MOST_RECORDS]
            if not self._invalidator.postpone(namespace, step):
                self._void(namespace, step, NO_HOLD)


class Attempts:
    """The attempts of one write, which tell whether its last answer settles what became of it.

    An attempt is open if it got no answer, or a 5xx, which Stripe calls indeterminate: it may be performed later.
        writer: sends, times out, sends again     Stripe: 409, the first is under way     writer: gives up
        reader: asks, stores the old object       Stripe: performs the first
    So a 4xx (a conflict, a rate limit, a key that was revoked) settles an attempt that was the only one, or came after
    others that it settled, and never an open one. A 2xx settles an open one if both had one idempotency key: it is the
    answer to whichever was performed, and the other is not performed any more.
    """

    def __init__(self, *, may_repeat: bool, has_key: bool) -> None:
        self._has_key = has_key
        # Where no attempt is seen, a client that may have repeated the write is taken to have done so.
        self._open = may_repeat
        self._seen = False

    @contextmanager
    def attempt(self) -> Iterator[list[int]]:
        """Wrap one attempt; the caller appends the answer's status to the list it is given."""
        status: list[int] = []
        try:
            yield status
        finally:
            is_open = not status or status[0] >= _SERVER_ERROR
            self._open = is_open or (self._seen and self._open)
            self._seen = True

    def settle(self, status: int) -> bool:
        """Tell whether the last answer settles what became of the write."""
        return status < _REDIRECT if self._open and self._has_key else status < _SERVER_ERROR and not self._open


@contextmanager
def writing(write: Write, clock: Clock) -> Iterator[list[bytes | str]]:
    """Wrap the sending of a write; the caller appends the answer's body to the list it is given.

    An answer that leaves open whether anything was done (`Attempts`) is no answer.
    """
    answered: list[bytes | str] = []
    write.begin(clock.now())
    try:
        yield answered
    finally:
        # Also after an error or a timeout: Stripe may have done it all the same.
        write.end(answered[0] if answered else None)


def _ordered(records: set[str]) -> list[str]:
    """Put collections before single objects: what is voided on the spot first."""
    return sorted(records, key=lambda record: (not record.startswith("/"), record))


def _pairs_of(form: Any) -> tuple[Pair, ...]:
    if isinstance(form, bytes):
        form = form.decode("utf-8", "replace")
    if not isinstance(form, str) or not form:
        return ()
    if not form.lstrip().startswith("{"):
        return query.parse(form)
    try:
        decoded = json.loads(form)
        return query.encode(decoded) if isinstance(decoded, dict) else ()
    except (ValueError, RequestError, RecursionError):
        return ()


def _object_of(body: bytes | str | None) -> dict[str, Any] | None:
    try:
        decoded = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None
