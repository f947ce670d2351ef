"""Secrets by reference: read from Secrets Manager, kept for five minutes, never logged."""

from __future__ import annotations

import json
from threading import Lock
from typing import TYPE_CHECKING, Any

from stripe_cache.core.errors import ConfigurationError

if TYPE_CHECKING:
    from stripe_cache.core.clock import Clock

KEPT_SECONDS = 300.0
RENEWED_AT_MOST_EVERY = 30.0
"""A forged signature makes us look for a new secret: a flood of them must not flood Secrets Manager."""
_LITERALS = ("whsec_", "sk_test_", "rk_test_")
_CREDENTIALS = ("sk_", "rk_", "whsec_")
_VERSIONS = ("AWSCURRENT", "AWSPREVIOUS")


class SecretError(ConfigurationError):
    """A secret cannot be had; the message names the setting and the id, never the value."""


class Secrets:
    """Reads secrets by id. Thread-safe. A value given in place of an id (test mode only) is taken as it is."""

    def __init__(self, clock: Clock, client: Any = None) -> None:
        self._clock = clock
        self._client = client
        self._lock = Lock()
        self._kept: dict[str, tuple[tuple[str, ...], float]] = {}

    def values(self, secret_id: str, setting: str, *, renew: bool = False) -> tuple[str, ...]:
        """Return the secret's values, the current one first.

        A secret is one string, a JSON list, or a JSON object's values: during a roll two are valid, and Stripe signs
        with both. The version before the current one counts too. `renew` asks again if the last answer is older than
        half a minute.
        """
        if not secret_id:
            raise SecretError(f"{setting} is not set: give the id or ARN of a Secrets Manager secret")
        if secret_id.startswith((*_LITERALS, '["whsec_')):
            return _parse(secret_id)
        if secret_id.startswith(_CREDENTIALS):
            # Shown to nobody, Secrets Manager included: it would end up in AWS's own logs.
            raise SecretError(f"{setting} holds a secret itself: store it in Secrets Manager, and give its id or ARN")
        with self._lock:
            now = self._clock.monotonic()
            kept = self._kept.get(secret_id)
            if kept and now - kept[1] < (RENEWED_AT_MOST_EVERY if renew else KEPT_SECONDS):
                return kept[0]
            try:
                found = self._fetch(secret_id, setting)
            except SecretError:
                if kept is None:
                    raise
                # Secrets Manager is away: what was valid minutes ago most likely still is.
                found = kept[0]
            self._kept[secret_id] = (found, now)
            return found

    def _fetch(self, secret_id: str, setting: str) -> tuple[str, ...]:
        from botocore.exceptions import BotoCoreError, ClientError

        found: list[str] = []
        for version in _VERSIONS:
            try:
                answer = self._secrets_manager().get_secret_value(SecretId=secret_id, VersionStage=version)
                found.extend(_parse(answer.get("SecretString", "")))
            except Exception as error:  # noqa: BLE001 (botocore stumbles over an answer of a strange shape)
                if version == _VERSIONS[0]:
                    # Only the kind of a stranger's error: its text may quote what it could not digest.
                    said = error if isinstance(error, (ClientError, BotoCoreError)) else type(error).__name__
                    raise SecretError(
                        f"{setting} names the secret {secret_id!r}, which cannot be read: {said}"
                    ) from None
                # Most secrets have no previous version.
        if not found:
            raise SecretError(f"{setting} names the secret {secret_id!r}, which holds no string")
        return tuple(dict.fromkeys(found))

    def _secrets_manager(self) -> Any:
        if self._client is None:
            import boto3
            from botocore.config import Config

            from stripe_cache.tiers.aws_deadline import bounded

            config = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2})
            self._client = bounded(boto3.session.Session().client("secretsmanager", config=config))
        return self._client


def _parse(text: str) -> tuple[str, ...]:
    stripped = text.strip()
    if stripped.startswith(("[", "{")):
        try:
            decoded = json.loads(stripped)
        except ValueError:
            return (stripped,)
        items = decoded.values() if isinstance(decoded, dict) else decoded
        return tuple(item for item in items if isinstance(item, str) and item)
    return (stripped,) if stripped else ()
