"""The queue that others give up to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs

from stripe_cache_cdk.constructs.nag import acknowledge

if TYPE_CHECKING:
    from constructs import Construct

KEPT = cdk.Duration.days(14)
"""As long as SQS keeps anything."""


def dead_letter_queue(scope: Construct, construct_id: str) -> sqs.Queue:
    """Return a queue for messages that failed elsewhere: encrypted, over TLS only, kept 14 days."""
    queue = sqs.Queue(
        scope,
        construct_id,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=KEPT,
    )
    last = "This is the queue that others give up to."
    acknowledge(queue, AwsSolutions_SQS3=last, Serverless_SQSRedrivePolicy=last)
    return queue
