"""Where an invalidation waits that could not be done at once, and the function that does it then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_lambda_event_sources as event_sources
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stripe_cache_cdk.constructs.nag import acknowledge
from stripe_cache_cdk.constructs.runtime_function import HANDLERS, FunctionOptions, RuntimeFunction

if TYPE_CHECKING:
    from stripe_cache_cdk.constructs.attaching import Attaches

CONSUMER_TIMEOUT = cdk.Duration.seconds(30)
RECEIVES = 10
BATCH = 10


class InvalidationQueue(Construct):
    """An encrypted queue, and a second one for what failed ten times in a row; both keep messages 14 days.

    A message names records to void. Until it is processed, the tier that could not be told may serve the old answer.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self.dead_letters = dead_letter_queue(self, "DeadLetters")
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
            # Lambda needs six times the timeout of the consumer, or a slow batch is handed out twice.
            visibility_timeout=cdk.Duration.seconds(6 * CONSUMER_TIMEOUT.to_seconds()),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=RECEIVES),
        )


class InvalidationConsumer(Construct):
    """The function that applies queued invalidations and events, a batch at a time, reporting which messages failed."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cache: Attaches,
        options: FunctionOptions | None = None,
        reserved_concurrency: int | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.function = RuntimeFunction(
            self,
            "Function",
            handler=HANDLERS["invalidations"],
            description="Applies invalidations that were queued, and Stripe events from EventBridge",
            timeout=CONSUMER_TIMEOUT,
            options=options,
            reserved_concurrency=reserved_concurrency,
        )
        cache.attach(self.function, calls_stripe=False)
        acknowledge(
            self.function,
            Serverless_LambdaEventSourceMappingDestination="The queue redrives to its dead letters.",
        )
        self.function.invoked.add_event_source(
            event_sources.SqsEventSource(
                cache.invalidation_queue.queue,
                batch_size=BATCH,
                report_batch_item_failures=True,
                # Few at a time: when a tier is down, many consumers would only fail faster.
                max_concurrency=5,
            )
        )


def dead_letter_queue(scope: Construct, construct_id: str) -> sqs.Queue:
    """Return a queue for messages that failed elsewhere: encrypted, over TLS only, kept 14 days."""
    queue = sqs.Queue(
        scope,
        construct_id,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=cdk.Duration.days(14),
    )
    last = "This is the queue that others give up to."
    acknowledge(queue, AwsSolutions_SQS3=last, Serverless_SQSRedrivePolicy=last)
    return queue
