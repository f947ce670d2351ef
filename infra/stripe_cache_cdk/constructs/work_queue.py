"""Queues of work that a function does a batch at a time, reporting which messages failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as event_sources
from aws_cdk import aws_sqs as sqs

from stripe_cache_cdk.constructs.at_synthesis import at_synthesis
from stripe_cache_cdk.constructs.nag import acknowledge

if TYPE_CHECKING:
    from constructs import Construct

    from stripe_cache_cdk.constructs.runtime_function import RuntimeFunction

FED = "stripe-cache:fed"  # The type of the note on a queue that says which function works on it.


def work_queue(
    scope: Construct,
    *,
    dead_letters: sqs.Queue,
    kept: cdk.Duration,
    receives: int,
    consumer_timeout: cdk.Duration,
    unread: str,
) -> sqs.Queue:
    """Return an encrypted queue, named Queue; what was received `receives` times in vain goes to the dead letters.

    Synthesis warns when no function of the app works on it; `unread` says what then happens, and the remedy.
    """
    queue = sqs.Queue(
        scope,
        "Queue",
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=kept,
        # Lambda needs six times the timeout of the consumer, or a slow batch is handed out twice.
        visibility_timeout=cdk.Duration.seconds(6 * consumer_timeout.to_seconds()),
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=receives),
    )
    resource = queue.node.default_child
    if isinstance(resource, sqs.CfnQueue):
        at_synthesis(resource, lambda: _warn_of_unread(scope, queue, unread))
    return queue


def feed(function: RuntimeFunction, queue: sqs.IQueue, *, batch: int, most_at_once: int) -> None:
    """Let the function work on the queue, in at most so many sandboxes at a time."""
    acknowledge(
        function,
        Serverless_LambdaEventSourceMappingDestination="The queue redrives to its dead letters.",
    )
    queue.node.add_metadata(FED, function.node.path)
    function.invoked.add_event_source(
        event_sources.SqsEventSource(
            queue, batch_size=batch, report_batch_item_failures=True, max_concurrency=most_at_once
        )
    )


def _warn_of_unread(scope: Construct, queue: sqs.Queue, unread: str) -> None:
    if any(note.type == FED for note in queue.node.metadata):
        return
    # Somebody's own function may work on it: all of the app is walked for that.
    mappings = (one for one in scope.node.root.node.find_all() if isinstance(one, lambda_.CfnEventSourceMapping))
    if not any(one.event_source_arn == queue.queue_arn for one in mappings):
        cdk.Annotations.of(scope).add_warning_v2(
            "stripe-cache:unread", f"no function of this app works on this queue, so {unread}"
        )
