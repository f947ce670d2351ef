"""One message into SQS, and what may come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stripe_cache.core.errors import TierError

if TYPE_CHECKING:
    from collections.abc import Callable


def send(connect: Callable[[], Any], url: str, body: str, **options: Any) -> None:
    """Send one message; return only when SQS says that it has it; `connect` returns the client.

    A 200 alone proves nothing: what stands before SQS may answer, too, and its messages are lost.
    Raises TierError, whatever went wrong.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = connect().send_message(QueueUrl=url, MessageBody=body, **options)
        taken = answer.get("MessageId")
    except (ClientError, BotoCoreError) as error:
        raise TierError(f"sqs: {type(error).__name__}: {error}") from error
    except Exception as error:
        # botocore stumbles over an answer that is no JSON object. Only the kind: the text may quote the answer.
        raise TierError(f"sqs: {type(error).__name__}") from error
    if not isinstance(taken, str) or not taken:
        raise TierError("sqs: an answer without a MessageId: something else than SQS answers for the queue")
