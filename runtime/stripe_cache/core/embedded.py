"""Which records an answer consists of, read off its body once the origin has answered."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from stripe_cache.core import catalog
from stripe_cache.core.effects import ANY, effects, texts
from stripe_cache.core.errors import RequestError
from stripe_cache.core.policy import is_never_cached
from stripe_cache.core.records import collection_records, dependency, is_gate, is_never_kept, is_record, place

# What an account that is connected to a platform can be shown of the platform's own.
_OF_PLATFORMS = frozenset({"application_fee", "fee_refund", "transfer", "transfer_reversal"})
# The url of the list inside a customer: the API still says it and no longer answers it.
_SUBSCRIPTIONS = re.compile(r"/v1/customers/([^/]+)/subscriptions")
MOST = 400
"""More embedded records than this cost more to check on every read than the answer is worth: it is not stored."""


class NotEmbeddableError(RequestError):
    """The answer is not stored: nobody could void it with all that is inside it, or what is inside must not be kept."""


def embedded_records(body: Any, own: str, always: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sorted names of all records the answer changes with, but its own; `always` included.

    An object counts when it carries its own id (an unexpanded id string cannot go stale), and otherwise by its path if
    it lives at one; a list inside counts by its url, because a new member changes the answer too; then there are the
    dependencies of `data/effects.json`, and the types that it voids at large. A list that is the whole answer does not
    count by its url: it is kept under a record of its own, and the url, which carries no filter, would void it with
    everybody's members. Raises NotEmbeddableError, also for an object of a platform in what is read on a connected
    account's behalf: the platform's events and writes name no connected account to be told.
    """
    if not isinstance(body, dict | list):
        raise NotEmbeddableError(f"the answer is a {type(body).__name__}, and no object of Stripe's")
    found = set(always)
    is_connected = any(map(is_gate, always))
    asked = _asked(body)
    found.update(dependency(ANY, kind) for kind in _kinds(asked) & effects().at_large.keys())
    remaining = [body]
    while remaining:
        value = remaining.pop()
        if isinstance(value, list):
            remaining.extend(item for item in value if isinstance(item, dict | list))
            continue
        remaining.extend(item for item in value.values() if isinstance(item, dict | list))
        kind = value.get("object")
        if kind == "list":
            if value is not body:
                found.update(_list_records(value.get("url")))
        elif isinstance(kind, str):
            if is_connected:
                _check_owner(kind, value, asked)
            found.update(_object_records(kind, value, inside=value is not body), _dependencies(kind, value))
    found.discard(own)
    if len(found) > MOST:
        raise NotEmbeddableError(f"the answer embeds {len(found)} records; at most {MOST} are checked on a read")
    return tuple(sorted(found))


def _asked(body: Any) -> list[Any]:
    """Return what was asked for: the object itself, or the members of a list."""
    if isinstance(body, dict) and body.get("object") == "list":
        members = body.get("data")
        return members if isinstance(members, list) else []
    return [body]


def _kinds(values: list[Any]) -> set[str]:
    kinds = (one.get("object") for one in values if isinstance(one, dict))
    return {kind for kind in kinds if isinstance(kind, str)}


def _check_owner(kind: str, value: dict[str, Any], asked: list[Any]) -> None:
    # What was asked for on an account's behalf is the account's own; what that embeds may be its platform's.
    if kind in _OF_PLATFORMS and not any(value is one for one in asked):
        raise NotEmbeddableError(f"the answer embeds a {kind} of another account, and changes where that does")


def _dependencies(kind: str, value: dict[str, Any]) -> set[str]:
    found = {dependency(one.kind, text) for one in effects().depends.get(kind, ()) for text in texts(value, one.field)}
    return found | {dependency(ANY, kind)} if effects().at_large.get(kind) else found


def _object_records(kind: str, value: dict[str, Any], *, inside: bool) -> set[str]:
    if is_never_cached(kind):
        raise NotEmbeddableError(f"the answer embeds a {kind}, which is never stored")
    name = value.get("id")
    if not isinstance(name, str):
        # Such as a cash balance, which lives at a path below its customer. The answer itself has its record already.
        return collection_records(kind, value) if inside else set()
    if not is_record(name):
        raise NotEmbeddableError(f"the answer embeds {name[:60]!r}, which cannot name a record")
    return {name}


def _list_records(url: Any) -> tuple[str, ...]:
    """Name the records of a list inside another object; one that nothing would void makes the answer unstorable."""
    path, _, query = url.partition("?") if isinstance(url, str) else ("", "", "")
    if customer := _SUBSCRIPTIONS.fullmatch(path):
        path, query = "/v1/subscriptions", f"customer={customer[1]}"
    operation = catalog.match("get", path)
    if operation is None or operation.kind != "list" or is_never_kept(path):
        raise NotEmbeddableError(f"the answer embeds a list at {url!r:.80}, which no event or write is known to change")
    try:
        placement = place(operation, path, parse_qsl(query))
    except RequestError as error:
        raise NotEmbeddableError(str(error)) from error
    return (placement.record, *placement.embeds)
