"""Stripe's way in over EventBridge: the partner event bus, without an endpoint of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from stripe_cache_cdk.choices import NO_PARTNER, OTHER_PARTITIONS
from stripe_cache_cdk.constructs.dead_letters import dead_letter_queue
from stripe_cache_cdk.constructs.key_access import encrypt_queue, let_events_use
from stripe_cache_cdk.constructs.props import checked
from stripe_cache_cdk.constructs.stack_order import check_one_stack
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from stripe_cache_cdk.constructs.invalidation_queue import InvalidationQueue

PARTNER = "aws.partner/stripe.com"


class EventBridgeSource(Construct):
    """A rule that puts every event of Stripe's bus into the queue of invalidations, whose consumer applies them.

    The queue and not the function, because EventBridge calls functions asynchronously: what then fails three times in
    six hours is lost, while the queue hands it out again for as long as it is kept. What EventBridge cannot even
    deliver within a day goes to `dead_letters`, under the same key as the queue. Of EventBridge, only this
    rule may send to the queue.

    `bus_name` is the partner bus (`aws.partner/stripe.com/ed_...`) that exists once the event source was associated in
    the account. The bus authenticates Stripe: no signing secret is involved. `queue` needs an InvalidationConsumer,
    which WebhookEndpoint brings along, and must be of the same stack: its policy names the rule, and the rule names it.
    """

    @checked
    def __init__(self, scope: Construct, construct_id: str, *, bus_name: str, queue: InvalidationQueue) -> None:
        super().__init__(scope, construct_id)
        if not cdk.Token.is_unresolved(bus_name) and not bus_name.startswith(f"{PARTNER}/"):
            raise ConstructError(self, f"bus_name={bus_name!r} is not Stripe's", f"pass {PARTNER}/ed_...")
        region = cdk.Stack.of(self).region
        if region.startswith(OTHER_PARTITIONS):
            raise ConstructError(self, f"region {region} {NO_PARTNER}", "let events arrive by a WebhookEndpoint")
        check_one_stack(self, "; the consumer may be anywhere", queue=queue)
        self.bus_name = bus_name
        self.dead_letters = dead_letter_queue(self, "DeadLetters")
        if queue.encryption_key:
            # Both hold events, and EventBridge sends to both.
            encrypt_queue(self.dead_letters, queue.encryption_key)
            let_events_use(queue.encryption_key)
        self.rule = events.Rule(
            self,
            "Rule",
            description="Events of Stripe's partner bus to the queue of invalidations",
            event_bus=events.EventBus.from_event_bus_name(self, "Bus", bus_name),
            event_pattern=events.EventPattern(source=events.Match.prefix(PARTNER)),
            targets=[
                targets.SqsQueue(
                    queue.queue,
                    dead_letter_queue=self.dead_letters,
                    retry_attempts=185,
                    max_event_age=cdk.Duration.hours(24),
                )
            ],
        )
