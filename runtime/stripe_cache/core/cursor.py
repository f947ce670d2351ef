"""How far the events have been swept: a few hundred bytes that outlive every process.

A cursor only ever moves to where everything before it was applied. Two sweeps that overlap may write theirs in any
order: the earlier one winning repeats work, and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from stripe_cache.core.errors import StripeCacheError

CURSOR_RECORD = "#cursor"
"""Stands where a record's name does in the key; no record begins with `#`."""
CURSOR_TTL = 40 * 86400
"""Seconds a cursor outlives its last use: longer than the 30 days for which Stripe lists events."""
_MOST_SEEN = 500


class BadCursorError(StripeCacheError):
    """The stored cursor is not one of ours."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in an account's list of events, newest first."""

    after: str = ""
    """Every event up to this one was applied; empty while the account has none that old."""
    since: float = 0.0
    """Where the first sweep begins, epoch seconds; counts while `after` is empty."""
    below: str = ""
    """A first sweep that has not come to its end goes on behind this event."""
    settled: str = ""
    """What `after` becomes when it has."""
    undelivered_at: float = 0.0
    """When undelivered events were last asked for, epoch seconds."""
    seen: tuple[str, ...] = ()
    """Events newer than `after` that were applied, newest first; only the newest 500 are kept."""

    def dump(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self) | {"seen": self.seen[:_MOST_SEEN]}, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Cursor:
        """Read what `dump` wrote; raises BadCursorError for anything else."""
        try:
            found: dict[str, Any] = json.loads(text)
            cursor = cls(**found | {"seen": tuple(found["seen"])})
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise BadCursorError(f"the cursor {text[:40]!r} cannot be read") from error
        expected = {"since": (int, float), "undelivered_at": (int, float), "seen": tuple}
        kinds: Any = [(getattr(cursor, one.name), expected.get(one.name, str)) for one in fields(cls)]
        if not all(isinstance(value, kind) for value, kind in kinds) or not all(
            isinstance(e, str) for e in cursor.seen
        ):
            raise BadCursorError(f"the cursor {text[:40]!r} has fields of other types")
        return cursor


class CursorStore(Protocol):
    """Where a namespace's cursor is kept. Thread-safe; may raise TierError or TableError."""

    def load(self, namespace: str) -> str | None:
        """Read it, from where the last save went; None if there is none."""
        ...

    def save(self, namespace: str, text: str, now: float) -> None:
        """Keep it for CURSOR_TTL seconds from `now`."""
        ...
