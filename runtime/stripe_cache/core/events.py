"""Events: from what Stripe says has changed to the records to void. Events are hints; they never supply a body.

A snapshot event carries the object, in the API version of its endpoint; a thin event carries id and path only;
EventBridge wraps either in `detail`. All three end in the same sets: the object's id, every collection it is, was or
may be in, what nobody sends events about below it, and the side effects listed in `effects.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from stripe_cache.core import catalog, records
from stripe_cache.core.effects import effects
from stripe_cache.core.errors import NotAnEventError
from stripe_cache.core.outbox import Cause
from stripe_cache.core.policy import is_never_cached, never_cached

_THIN = "v2.core.event"
# After these a field that is null may have named something the event does not repeat.
_RELEASING = frozenset({"deleted", "detached", "released"})
_GONE = "account.application.deauthorized"
_SHOWN = 40
MOST_RECORDS = 500
"""Records that are voided on the spot. Stripe puts 10 or 20 members into a nested list, so its events name dozens. What
names more goes through an outbox: a part voided and the rest forgotten would stay stale."""


@dataclass(frozen=True, slots=True)
class Affected:
    """What an event says has changed, and where."""

    event_id: str
    event_type: str
    account: str | None
    """The connected account it is about; None for the account that receives it."""
    livemode: bool | None
    """None when the event does not say."""
    created: float | None
    """Epoch seconds. Whole seconds for snapshot events: never an order."""
    records: tuple[str, ...]
    """Sorted, without duplicates; empty for what concerns nothing that any policy can cache."""
    by_context: bool = False
    """Whether `account` is the innermost of the event's context: that may be the receiver under its own id."""

    @property
    def cause(self) -> Cause:
        """The event as the reason of an invalidation."""
        return Cause(self.event_id, self.created)


def affected(event: Mapping[str, Any]) -> Affected:
    """Name the records that a snapshot event, thin event or EventBridge envelope voids.

    Types that the catalog does not know still void the object's id and, by its `object`, its lists. Raises
    NotAnEventError for anything else and says what is missing; never another error, whatever the JSON.
    """
    event = _unwrapped(event)
    event_id, event_type = _text(event, "id"), _text(event, "type")
    kind = event.get("object")
    if kind == "event":
        found = _snapshot(event, event_type)
    elif kind == _THIN:
        found = _thin(event, event_type)
    else:
        raise NotAnEventError(f"`object` is {_shown(kind)}: an event says 'event' or '{_THIN}'")
    account = _account(event)
    if account is not None and any(row.owner for row in effects().of_event(event_type)):
        found.add(account)
    if account is not None and event_type.removeprefix("v1.") == _GONE:
        # Stripe refuses the platform from now on, whatever the cache still has.
        found.add(records.gate(account))
    livemode = event.get("livemode")
    if livemode is not None and not isinstance(livemode, bool):
        raise NotAnEventError(f"`livemode` is {_shown(livemode)}: an event says true or false")
    return Affected(
        event_id,
        event_type,
        account,
        livemode,
        _seconds(event.get("created")),
        tuple(sorted(name for name in found if not records.is_never_kept(name))),
        by_context=account is not None and event.get("account") is None,
    )


def _unwrapped(event: object) -> Mapping[str, Any]:
    if not isinstance(event, Mapping):
        raise NotAnEventError(f"an event is a JSON object, and this is {_shown(event)}: pass the parsed body")
    if "detail-type" not in event or "object" in event:
        return event
    # EventBridge: the envelope's own `account` and `id` are AWS's.
    detail = event.get("detail")
    if not isinstance(detail, Mapping):
        raise NotAnEventError(f"the EventBridge envelope's `detail` is {_shown(detail)}: it should hold the event")
    return detail


def _snapshot(event: Mapping[str, Any], event_type: str) -> set[str]:
    data = event.get("data")
    body = data.get("object") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(body, Mapping):
        raise NotAnEventError(
            f"{_shown(event.get('id'))} has no object under `data.object`: pass the event unshortened"
        )
    object_id = body.get("id")
    if not isinstance(body.get("object"), str) and object_id is None:
        raise NotAnEventError(f"{_shown(event.get('id'))} is about nothing: its object has neither `id` nor `object`")
    if object_id is not None and not records.is_record(object_id):
        raise NotAnEventError(f"{_shown(event.get('id'))} is about {_shown(object_id)}, which can be no id of Stripe's")
    previous = data.get("previous_attributes")
    return _changed(event_type, body, previous if isinstance(previous, Mapping) else {})


def _thin(event: Mapping[str, Any], event_type: str) -> set[str]:
    related = event.get("related_object")
    if not isinstance(related, Mapping):
        return _unrelated(event_type)
    object_type, object_id, url = (related.get(key) for key in ("type", "id", "url"))
    path = url.partition("?")[0] if isinstance(url, str) else ""
    operation = catalog.match("get", path)
    body = {"object": object_type, "id": object_id}
    if operation is None:
        return _changed(event_type, body, {})
    # The path says which parents the object has, and that is more than the rest of the event does.
    body |= records.parent_fields(path.rpartition("/")[0])
    found = _changed(event_type, body, {})
    if operation.kind == "singleton" and records.is_record(path):
        found.add(path)
    if operation.kind == "retrieve":
        if not never_cached().issuperset(operation.objects):
            found |= set(filter(records.is_record, records.path_values(operation, path)[-1:]))
        for name in operation.objects:
            found |= records.collection_records(name, body)
    return found


def _unrelated(event_type: str) -> set[str]:
    """Void the collections of what the type is about, as far as the catalog knows: no object is named."""
    known = catalog.event_types().get(event_type)
    twin = catalog.event_types().get(known.twin) if known is not None else None
    found: set[str] = set()
    for name in twin.objects if twin is not None else ():
        found |= records.collection_records(name, {})
    for row in effects().of_event(event_type):
        found |= row.records({}, {})
    return found


def _changed(event_type: str, body: Mapping[str, Any], previous: Mapping[str, Any]) -> set[str]:
    action = event_type.rpartition(".")[2]
    object_type, object_id = body.get("object"), records.identifier(body)
    found = set() if object_id is None or is_never_cached(object_type) else {object_id}
    if isinstance(object_type, str):
        found |= records.collection_records(object_type, body, previous, released=action in _RELEASING)
        if object_id is not None:
            gone = action == "deleted" or body.get("deleted") is True
            found |= records.records_below(object_type, object_id, everything=gone)
    for row in effects().of_event(event_type):
        found |= row.records(body, previous)
    return found


def _account(event: Mapping[str, Any]) -> str | None:
    """Name the connected account: `account`, or the innermost of a context such as `org_1/acct_2`; None without either.

    What is there and can be no account is refused: to take it for absent would void the receiver's own records, and
    leave stale those of whoever was meant.
    """
    for key in ("account", "context"):
        value = event.get(key)
        if value is None:
            continue
        if not isinstance(value, str) or not records.is_record(last := value.rpartition("/")[2]):
            raise NotAnEventError(f"`{key}` is {_shown(value)}: where an event has one, it names an account")
        return last
    return None


def _seconds(created: object) -> float | None:
    if isinstance(created, str):
        try:
            moment = datetime.fromisoformat(created)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, OSError):
            return None
    if isinstance(created, bool) or not isinstance(created, (int, float)):
        return None
    try:
        seconds = float(created)
    except OverflowError:
        return None
    return seconds if isfinite(seconds) else None


def _text(event: Mapping[str, Any], key: str) -> str:
    value = event.get(key)
    if not records.is_record(value):
        raise NotAnEventError(f"`{key}` is {_shown(value)}: every Stripe event has one")
    return value


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, str):
        return ascii(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!a}..."
    return f"of type {type(value).__name__}"
