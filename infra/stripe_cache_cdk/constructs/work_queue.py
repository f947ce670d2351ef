"""Queues of work that a function does a batch at a time, reporting which messages failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_lambda_event_sources as event_sources
from aws_cdk import aws_sqs as sqs

from stripe_cache_cdk.constructs.nag import acknowledge

if TYPE_CHECKING:
    from constructs import Construct

    from stripe_cache_cdk.constructs.runtime_function import RuntimeFunction


def work_queue(
    scope: Construct, *, dead_letters: sqs.Queue, kept: cdk.Duration, receives: int, consumer_timeout: cdk.Duration
) -> sqs.Queue:
    """Return an encrypted queue, named Queue; what was received `receives` times in vain goes to the dead letters."""
    return sqs.Queue(
        scope,
        "Queue",
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=kept,
        # Lambda needs six times the timeout of the consumer, or a slow batch is handed out twice.
        visibility_timeout=cdk.Duration.seconds(6 * consumer_timeout.to_seconds()),
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=receives),
    )


def feed(function: RuntimeFunction, queue: sqs.IQueue, *, batch: int, most_at_once: int) -> None:
    """Let the function work on the queue, in at most so many sandboxes at a time."""
    acknowledge(
        function,
        Serverless_LambdaEventSourceMappingDestination="The queue redrives to its dead letters.",
    )
    function.invoked.add_event_source(
        event_sources.SqsEventSource(
            queue, batch_size=batch, report_batch_item_failures=True, max_concurrency=most_at_once
        )
    )
