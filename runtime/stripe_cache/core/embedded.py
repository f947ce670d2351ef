"""Which records an answer consists of, read off its body once the origin has answered."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from stripe_cache.core import catalog
from stripe_cache.core.errors import RequestError
from stripe_cache.core.records import is_record, place

MOST = 400
"""More embedded records than this cost more to check on every read than the answer is worth: it is not stored."""


class TooManyEmbeddedError(RequestError):
    """The answer embeds more records than a read could check, or one whose id cannot name a record."""


def embedded_records(body: Any, own: str, always: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sorted names of all records inside the answer but its own, `always` included.

    An object counts when it carries its own id (an unexpanded id string cannot go stale); a list inside it counts by
    its url, because a new member changes the answer too. A list that is the whole answer does not count by its url: it
    is kept under its own record already, and its url, which carries no filter, would void it with everybody's members.
    """
    found = set(always)
    remaining = [body]
    while remaining:
        value = remaining.pop()
        if isinstance(value, list):
            remaining.extend(item for item in value if isinstance(item, dict | list))
            continue
        remaining.extend(item for item in value.values() if isinstance(item, dict | list))
        kind, name = value.get("object"), value.get("id")
        if kind == "list" and value is not body:
            found.update(_list_records(value.get("url")))
        elif isinstance(kind, str) and isinstance(name, str):
            if not is_record(name):
                raise TooManyEmbeddedError(f"the answer embeds {name[:60]!r}, which cannot name a record")
            found.add(name)
    found.discard(own)
    if len(found) > MOST:
        raise TooManyEmbeddedError(f"the answer embeds {len(found)} records; at most {MOST} are checked on a read")
    return tuple(sorted(found))


def _list_records(url: Any) -> tuple[str, ...]:
    if not isinstance(url, str):
        return ()
    path, _, query = url.partition("?")
    operation = catalog.match("get", path)
    if operation is None or operation.kind != "list":
        return ()
    try:
        placement = place(operation, path, parse_qsl(query))
    except RequestError:
        return ()
    return (placement.record, *placement.embeds)
