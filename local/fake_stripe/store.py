"""The fake's objects with every version they ever had, so that past answers can be told again.

One change number counts all changes of the process. A body is never edited in place: a change stores a new one, so a
version costs one reference and a view of the past is a lookup.
"""

from __future__ import annotations

import bisect
import random
import string
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

Body = dict[str, Any]
_ALPHABET = string.ascii_letters + string.digits
NOW = 1 << 62
# Events tell of changes and are none themselves: the log leaves them out.
EVENT_TYPES = frozenset({"event", "v2.core.event"})


class Scope(NamedTuple):
    """One account in one mode: objects of different scopes never meet."""

    account: str
    livemode: bool


class Version(NamedTuple):
    """What an object was from this change on; `body` is None once nothing is left to retrieve."""

    change: int
    at: float
    body: Body | None


class Entry(NamedTuple):
    """One line of a scope's change log: which object changed, and when."""

    change: int
    at: float
    object_id: str
    object_type: str


@dataclass
class Record:
    """All versions of one object, oldest first."""

    object_type: str
    versions: list[Version] = field(default_factory=list)

    def at(self, change: int) -> Body | None:
        """Return the body as it was right after this change."""
        if change >= self.versions[-1].change:
            return self.versions[-1].body
        index = bisect.bisect_right(self.versions, change, key=lambda version: version.change)
        return self.versions[index - 1].body if index else None


class Clock:
    """Numbers the changes of the whole process and remembers when each happened."""

    def __init__(self) -> None:
        self.change = 0

    def tick(self) -> tuple[int, float]:
        """Return the next change number and the wall time of the change."""
        self.change += 1
        return self.change, time.time()


class Space:
    """The objects of one scope; used from the server's event loop only."""

    def __init__(self, clock: Clock, scope: Scope, seed: int) -> None:
        self.clock = clock
        self.scope = scope
        self.records: dict[str, Record] = {}
        self.by_type: dict[str, list[str]] = {}
        self.by_customer: dict[tuple[str, str], list[str]] = {}
        self.rendered: dict[str, bytes] = {}
        self.last_change = 0
        self.log: list[Entry] = []
        self.log_begins = (0, 0.0)
        # Deliveries still without a 2xx, by event.
        self.undelivered: Counter[str] = Counter()
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Start the sequence of new ids over."""
        self._random = random.Random(f"{seed}/{self.scope.account}/{self.scope.livemode}")

    def begin_log(self) -> None:
        """Let the change log begin here: what a bulk load did is the starting point, not history."""
        self.log.clear()
        self.log_begins = (self.clock.change, time.time())

    def acknowledged(self, event_id: str) -> None:
        """Count one delivery of an event as done; lists of events can be filtered by it."""
        self.undelivered[event_id] -= 1
        self.rendered.clear()

    def new_id(self, prefix: str, length: int = 24) -> str:
        """Return an id that depends on the seed and on how many were made before, and on nothing else."""
        return prefix + "".join(self._random.choices(_ALPHABET, k=length))

    def put(self, body: Body) -> int:
        """Store this as the newest version of the object it names, and return the change number."""
        return self._append(body["id"], body["object"], body)

    def remove(self, object_id: str, tombstone: Body | None) -> int:
        """Delete an object; what is left to retrieve afterwards is `tombstone`."""
        return self._append(object_id, self.records[object_id].object_type, tombstone)

    def get(self, object_id: str) -> Body | None:
        """Return the newest body."""
        record = self.records.get(object_id)
        return record.versions[-1].body if record else None

    def view(self, change: int = NOW) -> View:
        """Look at the objects as they were right after this change."""
        return View(self, change)

    def _append(self, object_id: str, object_type: str, body: Body | None) -> int:
        change, at = self.clock.tick()
        record = self.records.get(object_id)
        if record is None:
            record = self.records[object_id] = Record(object_type)
            self.by_type.setdefault(object_type, []).append(object_id)
        if body and isinstance(body.get("customer"), str):
            self._index(object_type, object_id, body["customer"])
        record.versions.append(Version(change, at, body))
        self.last_change = change
        if object_type not in EVENT_TYPES:
            self.log.append(Entry(change, at, object_id, object_type))
        # Every answer may embed any object: all rendered bytes go, and the next reads render again.
        self.rendered.clear()
        return change

    def _index(self, object_type: str, object_id: str, customer: str) -> None:
        """Remember that an object belongs, or once belonged, to a customer; readers check which."""
        owned = self.by_customer.setdefault((object_type, customer), [])
        if object_id not in owned:
            owned.append(object_id)


class View:
    """The objects of one scope at one moment; what every read is computed from."""

    def __init__(self, space: Space, change: int) -> None:
        self.space = space
        self.change = change

    def get(self, object_id: str) -> Body | None:
        """Return the object's body at that moment; a tombstone is a body too."""
        record = self.space.records.get(object_id)
        return record.at(self.change) if record else None

    def newest_first(self, object_type: str, customer: str | None = None) -> Iterator[Body]:
        """Yield every living object of a type, or of a type and a customer, the one created last first."""
        if customer is None:
            ids = self.space.by_type.get(object_type, [])
        else:
            ids = self.space.by_customer.get((object_type, customer), [])
        for object_id in reversed(ids):
            body = self.get(object_id)
            if body is None or body.get("deleted") or (customer is not None and body.get("customer") != customer):
                continue
            yield body


class Store:
    """All scopes."""

    def __init__(self, seed: int = 0) -> None:
        self.clock = Clock()
        self.seed = seed
        self._spaces: dict[Scope, Space] = {}

    def space(self, scope: Scope) -> Space:
        """Return the scope's objects, none at first."""
        space = self._spaces.get(scope)
        if space is None:
            space = self._spaces[scope] = Space(self.clock, scope, self.seed)
        return space

    def spaces(self) -> list[Space]:
        """Return every scope that was ever used."""
        return list(self._spaces.values())
