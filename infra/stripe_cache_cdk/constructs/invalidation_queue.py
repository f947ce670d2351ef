"""Where an invalidation waits that could not be done at once, and the function that does it then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from constructs import Construct

from stripe_cache_cdk.constructs.dead_letters import KEPT, dead_letter_queue
from stripe_cache_cdk.constructs.key_access import encrypt_queue
from stripe_cache_cdk.constructs.props import checked
from stripe_cache_cdk.constructs.runtime_function import HANDLERS, FunctionOptions, RuntimeFunction
from stripe_cache_cdk.constructs.work_queue import feed, work_queue

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

    from stripe_cache_cdk.constructs.attaching import Attaches

CONSUMER_TIMEOUT = cdk.Duration.seconds(30)
RECEIVES = 10
BATCH = 10


class InvalidationQueue(Construct):
    """An encrypted queue, and a second one for what failed ten times in a row; both keep messages 14 days.

    A message names records to void and the tiers that missed them, or is an event as EventBridge delivers it; every
    function that changes the cache may send one. Until it is processed, the tier that could not be told may serve the
    old answer.
    """

    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        encryption_key: kms.IKey | None = None,
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY,
    ) -> None:
        super().__init__(scope, construct_id)
        self.encryption_key = encryption_key
        """The key in place of SQS's own, if one was given; whoever sends needs it too."""
        self.dead_letters = dead_letter_queue(self, "DeadLetters")
        self.queue = work_queue(
            self,
            dead_letters=self.dead_letters,
            kept=KEPT,
            receives=RECEIVES,
            consumer_timeout=CONSUMER_TIMEOUT,
            unread="what Stripe changed is not voided, while answers live longer because events are on: make an "
            "InvalidationConsumer, which a WebhookEndpoint brings along",
        )
        for queue in (self.queue, self.dead_letters):
            queue.apply_removal_policy(removal_policy)
            if encryption_key:
                encrypt_queue(queue, encryption_key)


class InvalidationConsumer(Construct):
    """The function that applies queued invalidations and events, a batch at a time, reporting which messages failed."""

    @checked
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
            description="Applies queued invalidations, and Stripe events that EventBridge put into the same queue",
            timeout=CONSUMER_TIMEOUT,
            options=options,
            reserved_concurrency=reserved_concurrency,
            vital=True,
        )
        cache.attach(self.function, calls_stripe=False)
        # Few at a time: when a tier is down, many consumers would only fail faster.
        feed(self.function, cache.invalidation_queue.queue, batch=BATCH, most_at_once=5)
