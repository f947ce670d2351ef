"""The SQS queue that refreshes are asked for in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stripe_cache.tiers import sqs_messages

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_SECONDS, READ_SECONDS = 0.08, 0.12
"""A reader is waiting, with an answer in hand; one that is not told in time reads for itself."""


class SqsRefreshQueue:
    """Sends messages. Thread-safe: botocore clients are. `connect` returns the client, made on first use."""

    def __init__(self, url: str, connect: Callable[[], Any]) -> None:
        self._url = url
        self._connect = connect

    def send(self, message: dict[str, Any], delay: int = 0) -> None:
        """Send one message; raises TierError."""
        sqs_messages.send(self._connect, self._url, json.dumps(message), DelaySeconds=delay)
