"""Invalidations that do not come by HTTP: the queue of what could not be done at once, and EventBridge."""

from __future__ import annotations

import json
import logging
from typing import Any

from stripe_cache.core import metrics
from stripe_cache.core.errors import NotAnEventError, RequestError, StripeCacheError
from stripe_cache.core.events import affected
from stripe_cache.core.records import is_broad, validate_record
from stripe_cache.handlers.container import container, metered

log = logging.getLogger("stripe_cache")


@metered
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Apply a batch of SQS messages, reporting the failed ones, or one EventBridge event, raising if it fails."""
    if "Records" not in event:
        _apply(event)
        return {}
    failures = []
    for record in event["Records"]:
        try:
            _apply(json.loads(record["body"]))
        except (StripeCacheError, ValueError, KeyError, TypeError, RecursionError) as error:
            # Reported as failed, a message comes back, and ends in the dead-letter queue if it can never be applied.
            log.warning("message %s was not applied: %s", record.get("messageId"), type(error).__name__)
            failures.append({"itemIdentifier": record.get("messageId", "")})
    return {"batchItemFailures": failures}


def _apply(message: dict[str, Any]) -> None:
    parts = container()
    if "records" in message and "detail" not in message:
        records = [name if is_broad(name) else validate_record(name) for name in message["records"]]
        account, livemode, created = message.get("account"), message.get("livemode"), message.get("created")
        if created is not None and not isinstance(created, int | float):
            raise RequestError(f"`created` of a queued message is {created!r:.40}: it is a number of seconds, or null")
    else:
        try:
            found = affected(message)
        except NotAnEventError as error:
            parts.meter.count(metrics.WEBHOOK_REJECTED)
            log.warning("this is no event: %s", error)
            raise
        records, account, livemode, created = list(found.records), found.account, found.livemode, found.created
    parts.apply(records, account=account, livemode=livemode, created=created)
