"""Stripe's webhooks: verify, void, and only then say yes.

A 2xx tells Stripe to forget the event, so it is given only when every tier has been told or a durable queue holds
what is left.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from typing import Any

from stripe_cache.core import metrics
from stripe_cache.core.errors import InvalidationError, RequestError
from stripe_cache.core.events import affected
from stripe_cache.handlers.container import Container, container, metered, time_left

TOLERANCE = 300
"""Seconds a signature is good for: the SDK's default."""
MAX_BODY_BYTES = 1024 * 1024
"""Stripe's largest events are far below; API Gateway would pass 10 MB."""

log = logging.getLogger("stripe_cache")


@metered
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one delivery (HTTP API v2 or Function URL): 200 done, queued or repeated, 400 not Stripe's, 500 again."""
    parts = container()
    payload = _payload(event)
    if payload is None:
        return _rejected(parts, "the body is missing, too large or not base64")
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    if not _is_signed(parts, payload, headers.get("stripe-signature", "")):
        return _rejected(parts, "the signature is missing, wrong or too old")
    try:
        found = affected(json.loads(payload))
        word = parts.apply(
            found.records,
            account=found.account,
            livemode=found.livemode,
            cause=found.cause,
            by_context=found.by_context,
            may_go_on=time_left(context),
        )
    except (ValueError, RecursionError, RequestError) as error:
        return _rejected(parts, f"this is no event: {error}")
    except InvalidationError as error:
        log.error("an event could not be applied nor queued: %s", ", ".join(error.failed))  # noqa: TRY400 (no traceback to learn from)
        return _answer(500, "the invalidation failed; deliver it again")
    return _answer(200, word)


def _payload(event: dict[str, Any]) -> bytes | None:
    body = event.get("body")
    if not isinstance(body, str) or not body or len(body) > MAX_BODY_BYTES * 4 // 3 + 4:
        return None
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) <= MAX_BODY_BYTES else None


def _is_signed(parts: Container, payload: bytes, signature: str) -> bool:
    setting = "STRIPE_CACHE_WEBHOOK_SECRET"
    secret_id = parts.settings.webhook_secret
    if not signature.isascii() or not signature:
        return False
    known = parts.secrets.values(secret_id, setting)
    if _verifies(payload, signature, known):
        return True
    # The secret may have been rolled since we read it.
    fresh = parts.secrets.values(secret_id, setting, renew=True)
    return fresh != known and _verifies(payload, signature, fresh)


def _verifies(payload: bytes, signature: str, secrets: tuple[str, ...]) -> bool:
    import stripe

    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return False
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(text, signature, secret, TOLERANCE)
        except stripe.SignatureVerificationError:
            continue
        return True
    return False


def _rejected(parts: Container, reason: str) -> dict[str, Any]:
    parts.meter.count(metrics.WEBHOOK_REJECTED)
    log.warning("a webhook was rejected: %s", reason[:200])
    return _answer(400, "rejected")


def _answer(status: int, word: str) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps({"result": word})}
