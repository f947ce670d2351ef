"""The durable queue for invalidations that could not be done at once."""

from __future__ import annotations

import functools
import json
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stripe_cache.core.events import Affected

log = logging.getLogger("stripe_cache")


def enqueue(queue_url: str, found: Affected) -> bool:
    """Put what an event voids into the queue; return whether it is safe there. False without a queue.

    Record names travel, and nothing of the object: the queue holds no personal data beyond ids.
    """
    if not queue_url:
        return False
    from botocore.exceptions import BotoCoreError, ClientError

    message = {
        "records": found.records,
        "account": found.account,
        "livemode": found.livemode,
        "created": found.created,
        "event": found.event_id,
    }
    try:
        _sqs().send_message(QueueUrl=queue_url, MessageBody=json.dumps(message))
    except (ClientError, BotoCoreError) as error:
        log.warning("an invalidation could not be queued: %s", type(error).__name__)
        return False
    return True


@functools.cache
def _sqs() -> Any:
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2})
    return boto3.session.Session().client("sqs", config=config)
