"""The outbox as an SQS queue: its consumer (`handlers/invalidations.py`) replays."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stripe_cache.tiers import sqs_messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe_cache.core.outbox import Missed

CONNECT_SECONDS, READ_SECONDS = 0.1, 0.2
"""A client's write waits for this, and only when a tier is sick; the breaker in front bounds how often. A message that
SQS took without saying so in time is in the next place as well: told twice, which is harmless."""
_RECORDS_PER_MESSAGE = 400
"""At 500 characters a record that is 200 KB: under the 256 KB that every queue takes."""


class SqsOutbox:
    """Sends messages. Thread-safe: botocore clients are. `connect` returns the client, made on first use."""

    tier = ""

    def __init__(self, url: str, connect: Callable[[], Any]) -> None:
        self._url = url
        self._connect = connect

    def put(self, missed: Missed) -> None:
        """Send it, in several messages if it names many records; raises TierError."""
        steps = range(0, max(1, len(missed.records)), _RECORDS_PER_MESSAGE)
        parts = [replace(missed, records=missed.records[start : start + _RECORDS_PER_MESSAGE]) for start in steps]
        for part in parts:
            sqs_messages.send(self._connect, self._url, json.dumps(part.message()))
