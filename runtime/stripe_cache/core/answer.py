"""What goes in and out of the engine: the origin's response, and the answer a caller gets."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stripe_cache.core.cache_status import CacheStatus
    from stripe_cache.core.entry import Entry


class Response(NamedTuple):
    """The origin's answer as the transport gave it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Answer:
    """The answer to one read. `status` says where it came from and why; `http_status` is the origin's."""

    body: bytes
    headers: Mapping[str, str]
    http_status: int
    status: CacheStatus
    _data: Any = field(default=None, repr=False)

    @classmethod
    def from_entry(cls, entry: Entry, status: CacheStatus) -> Answer:
        """Make an answer of a stored entry."""
        return cls(entry.body, dict(entry.headers), entry.status, status)

    @classmethod
    def from_response(cls, response: Response, status: CacheStatus) -> Answer:
        """Make an answer of what the origin just said."""
        return cls(response.body, response.headers, response.status, status)

    def joined(self) -> Answer:
        """Return the answer of a flight as its follower presents it, with a decoded body of its own."""
        return replace(self, status=self.status._replace(collapsed=True, stored=False), _data=None)

    @property
    def data(self) -> Any:
        """The decoded JSON body; decoded at the first use, and the same object from then on."""
        if self._data is None:
            self._data = json.loads(self.body.decode())
        return self._data
