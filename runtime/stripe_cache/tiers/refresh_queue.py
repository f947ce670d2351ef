"""The SQS queue that refreshes are asked for in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stripe_cache.core.errors import TierError

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
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            body = json.dumps(message)
            self._connect().send_message(QueueUrl=self._url, MessageBody=body, DelaySeconds=delay)
        except (ClientError, BotoCoreError) as error:
            raise TierError(f"sqs: {type(error).__name__}: {error}") from error
