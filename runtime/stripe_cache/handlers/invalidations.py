"""Invalidations that do not come by HTTP: the queue of what could not be done at once, and of EventBridge's events.

Messages of one batch that go to the same tiers are told together: a record that several of them name is void once.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stripe_cache.core import metrics
from stripe_cache.core.errors import InvalidationError, NotAnEventError, RequestError, StripeCacheError, TierError
from stripe_cache.core.events import affected
from stripe_cache.core.outbox import Missed, cause_of
from stripe_cache.core.records import is_broad, validate_record
from stripe_cache.handlers.container import container, metered, time_left

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.events import Affected
    from stripe_cache.handlers.container import Container

PATIENCE = 2
"""Receipts after which a message moves into the outbox of the table, if there is one: a queue gives up after a few
more, and a tier may be away for longer than that."""

log = logging.getLogger("stripe_cache")


@dataclass(frozen=True, slots=True)
class _Message:
    """What one message of the queue asks for: `tiers` are those that missed it."""

    missed: Missed
    identifier: str
    receipts: int
    is_event: bool
    """Whether it is an event as it came, and not what was left of one."""


@metered
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Apply a batch of SQS messages, reporting the failed ones.

    A body is either a message of an outbox or the envelope in which EventBridge delivers an event. One such envelope
    as the whole event is applied too, raising if that fails: a rule that calls the function itself, without a queue,
    loses what fails three times.
    """
    parts, may_go_on = container(), time_left(context)
    if "Records" not in event:
        _apply(parts, event, may_go_on)
        return {}
    failures: list[str] = []
    alike: dict[tuple[str, tuple[str, ...]], list[_Message]] = {}
    for record in event["Records"]:
        identifier = record.get("messageId", "")
        try:
            body = json.loads(record["body"])
            for missed in _missed(parts, body):
                receipts = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
                place = (missed.namespace, tuple(sorted(missed.tiers)))
                alike.setdefault(place, []).append(_Message(missed, identifier, receipts, "detail" in body))
        except (StripeCacheError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # Reported as failed, a message comes back, and ends in the dead-letter queue if it can never be applied.
            log.warning("message %s was not applied: %s", identifier, type(error).__name__)
            failures.append(identifier)
    for (namespace, tiers), messages in alike.items():
        failures += _tell(parts, namespace, tiers, messages, may_go_on)
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in dict.fromkeys(failures)]}


def _missed(parts: Container, body: Any) -> list[Missed]:
    """Read a message: of the outbox, of an older release, or an event that somebody put into the queue."""
    planner, seen = parts.cache.engine.planner, parts.cache.engine.seen
    if not isinstance(body, dict):
        raise RequestError("a queued message is no JSON object: it is one of an outbox, or an event's envelope")
    if "namespace" in body:
        missed = Missed.of(body)
        account = missed.namespace.rpartition(".")[0]
        if missed.namespace not in planner.namespaces(account, livemode=None):
            raise RequestError(f"{missed.namespace[:80]!r} is no namespace of this cache")
        if missed.is_everything:
            raise RequestError("a whole namespace is replayed from the table, not from the queue")
        return [missed]
    if "records" in body and "detail" not in body:
        records = tuple(name if is_broad(name) else validate_record(name) for name in body["records"])
        places, cause = planner.places(records, body.get("account"), livemode=body.get("livemode")), cause_of(body)
    else:
        found = _event(parts, body)
        cause, places = found.cause, parts.cache.engine.places_of(found) if found.records else {}
        if seen and seen.known([*places], [cause.event]):
            parts.meter.count(metrics.EVENT_REPEATED)
            return []
    tiers = parts.cache.engine.invalidator.shared_names
    return [Missed(namespace, records, tiers, cause) for namespace, records in places.items()]


def _tell(
    parts: Container, namespace: str, tiers: Sequence[str], messages: list[_Message], may_go_on: Callable[[], bool]
) -> list[str]:
    """Tell the tiers what all these messages name; return those that must come again."""
    engine = parts.cache.engine
    names = sorted({name for one in messages for name in one.missed.records})
    try:
        if engine.invalidator.replay(namespace, names, tiers, may_go_on):
            _note(parts, namespace, messages)
            return []
        reason = "there was no time for all of it"
    except (TierError, InvalidationError) as error:
        reason = str(error)[:200]
    parts.meter.count(metrics.INVALIDATION_FAILED, len(names))
    log.warning("%d messages were not applied: %s", len(messages), reason)
    return [one.identifier for one in messages if not _moves(parts, one, reason)]


def _moves(parts: Container, message: _Message, reason: str) -> bool:
    """Put into the table what has waited in the queue for long, unless the table's own tier is among the sick."""
    if message.receipts < PATIENCE or parts.table_outboxes is None:
        return False
    unreachable = ("dynamodb",) if reason.startswith("dynamodb") else ()
    return parts.table_outboxes.take(message.missed, unreachable)


def _note(parts: Container, namespace: str, messages: list[_Message]) -> None:
    seen = parts.cache.engine.seen
    if seen:
        # Not what an outbox kept: that may be a part of what its event named.
        seen.mark([namespace], [one.missed.cause.event for one in messages if one.is_event])
    parts.meter.count(metrics.WEBHOOK_ACCEPTED, len(messages))
    now = parts.cache.engine.clock.now()
    for one in messages:
        if one.missed.cause.created is not None:
            parts.meter.observe(metrics.WEBHOOK_LAG, max(0.0, now - one.missed.cause.created) * 1000)


def _event(parts: Container, message: dict[str, Any]) -> Affected:
    try:
        return affected(message)
    except NotAnEventError as error:
        parts.meter.count(metrics.WEBHOOK_REJECTED)
        log.warning("this is no event: %s", error)
        raise


def _apply(parts: Container, message: dict[str, Any], may_go_on: Callable[[], bool]) -> None:
    found = _event(parts, message)
    parts.apply(
        found.records,
        account=found.account,
        livemode=found.livemode,
        cause=found.cause,
        by_context=found.by_context,
        may_go_on=may_go_on,
    )
