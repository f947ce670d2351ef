"""What a shared tier could not be told, kept in a durable place until it has been: nothing of it is lost by a crash.

Debts (`debts.py`) keep one process honest while it lives. This is for all others: whoever could not tell a tier puts
down which records, in which namespace, and which tiers missed it. Whatever a queue holds its consumer replays; what
the table holds, the reconciler does. An entry goes only after every tier it names has confirmed, so that a replay is
repeated rather than forgotten, and two at once only do the same twice.

Too many entries collapse into one that says: everything in this namespace. It names Redis alone, because the names of
all records of a table cannot be read without searching it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from stripe_cache.core import metrics
from stripe_cache.core.breaker import Breaker
from stripe_cache.core.errors import RequestError, StripeCacheError
from stripe_cache.core.records import is_broad, validate_record

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.ports import Meter

OUTBOX_TTL = 40 * 86400
"""Seconds an entry is kept unreplayed: longer than any entry of the cache may live, by policy 30 days and a window."""
_WAITED = 0.1
"""Seconds after which a place that failed was waited for, and is left alone at once."""
COLLAPSED = ("redis",)
"""The tiers that an entry for a whole namespace may name."""
_ALL = "*"
_TIERS = frozenset({"redis", "dynamodb"})

log = logging.getLogger("stripe_cache")


class Cause(NamedTuple):
    """The event behind an invalidation, if there is one: its id and when it was created, epoch seconds."""

    event: str = ""
    created: float | None = None


NO_CAUSE = Cause()


@dataclass(frozen=True, slots=True)
class Missed:
    """Records that some tiers were not told about; no records at all stand for everything in the namespace."""

    namespace: str
    records: tuple[str, ...]
    tiers: tuple[str, ...]
    """In no order: they are told from the farthest up, as always."""
    cause: Cause = NO_CAUSE

    @property
    def is_everything(self) -> bool:
        """Whether it names no records because it means them all."""
        return not self.records

    def message(self) -> dict[str, Any]:
        """Describe it as JSON can: names of records, and nothing of the objects."""
        return {
            "namespace": self.namespace,
            "records": list(self.records) or _ALL,
            "tiers": list(self.tiers),
            "event": self.cause.event,
            "created": self.cause.created,
        }

    @classmethod
    def of(cls, message: object) -> Missed:
        """Read what `message` wrote; raises RequestError for anything else."""
        if not isinstance(message, dict):
            raise RequestError(f"a message of the outbox is a JSON object, and this is a {type(message).__name__}")
        names, tiers, namespace = message.get("records"), message.get("tiers"), message.get("namespace")
        if not isinstance(namespace, str) or not isinstance(tiers, list) or not tiers or not _are_tiers(tiers):
            raise RequestError("a message of the outbox names a namespace, and tiers of redis and dynamodb")
        if not isinstance(names, list) and (names != _ALL or tuple(tiers) != COLLAPSED):
            raise RequestError(f"`records` of a message of the outbox is {names!r:.40}: it is a list of records")
        records = () if names == _ALL else tuple(name if is_broad(name) else validate_record(name) for name in names)
        if names != _ALL and not records:
            raise RequestError("a message of the outbox names no records: `*` stands for all of them")
        return cls(namespace, records, tuple(tiers), cause_of(message))


def cause_of(message: dict[str, Any]) -> Cause:
    """Read the cause out of a queued message; raises RequestError."""
    event, created = message.get("event") or "", message.get("created")
    if not isinstance(event, str) or (created is not None and (isinstance(created, bool) or not _is_number(created))):
        raise RequestError(
            f"`event` of a queued message is {event!r:.40} and `created` {created!r:.40}: they are an id and seconds"
        )
    return Cause(event, created)


def _are_tiers(names: list[object]) -> bool:
    return all(isinstance(name, str) and name in _TIERS for name in names)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


class Outbox(Protocol):
    """A durable place. Thread-safe. `tier` is the tier that lives in the same place, empty if none does."""

    @property
    def tier(self) -> str:
        """Its name: an outbox beside a tier that does not answer need not be asked."""
        ...

    def put(self, missed: Missed) -> None:
        """Keep it; return only when it is durable. Raises TierError."""
        ...


class Outboxes:
    """The durable places there are, best first. Thread-safe.

    A client's write waits for this, so a place that fails is left alone for a while.
    """

    def __init__(self, places: Sequence[Outbox], clock: Clock, meter: Meter) -> None:
        self._places = [(place, Breaker(clock)) for place in places]
        self._clock = clock
        self._meter = meter

    def take(self, missed: Missed, unreachable: Collection[str] = ()) -> bool:
        """Keep it in the first place that takes it; return whether one did."""
        for place, breaker in self._places:
            if place.tier in unreachable or not breaker.admits():
                continue
            began = self._clock.monotonic()
            try:
                place.put(missed)
            except StripeCacheError as error:
                breaker.failed(was_slow=self._clock.monotonic() - began > _WAITED)
                log.warning("an invalidation could not be put into an outbox: %s", str(error)[:200])
                continue
            breaker.succeeded()
            self._meter.count(metrics.INVALIDATION_QUEUED, max(1, len(missed.records)))
            return True
        return False


def decoded(text: str) -> Missed:
    """Read an entry as it was written with `encoded`; raises RequestError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{text[:40]!r} is no entry of the outbox") from error
    return Missed.of(found)


def encoded(missed: Missed) -> str:
    """Write an entry as JSON."""
    return json.dumps(missed.message(), separators=(",", ":"))
