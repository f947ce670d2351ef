"""Refreshes from the queue: each message is read once more without the cache, with this function's own key.

A message names a variant. It is only worth anything if this function's key makes the same one: entries of other keys
are left to their owners.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import stripe

from stripe_cache.core import metrics
from stripe_cache.core.errors import RequestError, StripeCacheError
from stripe_cache.core.plan import Plan, Request
from stripe_cache.handlers.container import container, metered

if TYPE_CHECKING:
    from stripe_cache.handlers.container import Container

log = logging.getLogger("stripe_cache")

_FIELDS = ("refresh", "query", "namespace", "account", "context", "version", "variant")
_SETTING = "STRIPE_CACHE_API_KEY_SECRET"
_FIRST_SERVER_ERROR = 500
_TOO_MANY = 429


@metered
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Refresh a batch of SQS messages, reporting the failed ones; what can never succeed is dropped and counted."""
    parts = container()
    parts.cache.begin_invocation(context)
    failures = []
    for record in event["Records"]:
        try:
            _refresh(parts, record["body"])
        except (StripeCacheError, stripe.StripeError) as error:
            if not _is_final(error):
                failures.append({"itemIdentifier": record.get("messageId", "")})
            log.warning("message %s was not refreshed: %s", record.get("messageId"), type(error).__name__)
    return {"batchItemFailures": failures}


def _refresh(parts: Container, body: str) -> None:
    fields = _fields(body)
    key = parts.secrets.values(parts.settings.api_key_secret, _SETTING)[0]
    if fields is None or not _is_ours(parts, fields, key):
        parts.meter.count(metrics.REFRESH_SKIPPED)
        return
    parts.cache.get(
        _target(fields),
        api_key=key,
        stripe_account=fields["account"],
        stripe_context=fields["context"],
        stripe_version=fields["version"],
        # After an event the entry is void; whoever has read it since has filled it, and that is as good.
        cache_control="" if fields["hot"] else "no-cache",
    )


def _fields(body: str) -> dict[str, str] | None:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or not all(isinstance(message.get(name), str) for name in _FIELDS):
        return None
    return {name: message[name] for name in _FIELDS} | {"hot": "hot" if message.get("hot") is True else ""}


def _is_ours(parts: Container, fields: dict[str, str], key: str) -> bool:
    """Tell whether our key would fill the very entry that was found stale."""
    url = f"{parts.settings.api_base}{_target(fields)}"
    request = Request("get", url, key, fields["account"], fields["context"], fields["version"])
    plan = parts.cache.engine.planner.plan(request)
    return (
        isinstance(plan, Plan) and plan.key.variant == fields["variant"] and plan.key.namespace == fields["namespace"]
    )


def _target(fields: dict[str, str]) -> str:
    return f"{fields['refresh']}?{fields['query']}" if fields["query"] else fields["refresh"]


def _is_final(error: Exception) -> bool:
    """Tell whether trying again cannot help: it is no request, or Stripe said no, as for what is deleted."""
    if isinstance(error, RequestError):
        return True
    status = getattr(error, "http_status", None)
    return isinstance(status, int) and status < _FIRST_SERVER_ERROR and status != _TOO_MANY
