"""Stripe's way in over EventBridge: the partner event bus, without an endpoint of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from stripe_cache_cdk.constructs.invalidation_queue import dead_letter_queue
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from stripe_cache_cdk.constructs.invalidation_queue import InvalidationConsumer

PARTNER = "aws.partner/stripe.com"


class EventBridgeSource(Construct):
    """A rule that hands every event of Stripe's bus to the consumer; what fails for a day goes to `dead_letters`.

    `bus_name` is the partner bus (`aws.partner/stripe.com/ed_...`) that exists once the event source was associated in
    the account. The bus authenticates Stripe: no signing secret is involved.
    """

    def __init__(self, scope: Construct, construct_id: str, *, bus_name: str, consumer: InvalidationConsumer) -> None:
        super().__init__(scope, construct_id)
        if not cdk.Token.is_unresolved(bus_name) and not bus_name.startswith(f"{PARTNER}/"):
            raise ConstructError(self, f"bus_name={bus_name!r} is not Stripe's", f"pass {PARTNER}/ed_...")
        self.dead_letters = dead_letter_queue(self, "DeadLetters")
        self.rule = events.Rule(
            self,
            "Rule",
            description="Events of Stripe's partner bus to the consumer of invalidations",
            event_bus=events.EventBus.from_event_bus_name(self, "Bus", bus_name),
            event_pattern=events.EventPattern(source=events.Match.prefix(PARTNER)),
            targets=[
                targets.LambdaFunction(
                    consumer.function.invoked,
                    dead_letter_queue=self.dead_letters,
                    retry_attempts=185,
                    max_event_age=cdk.Duration.hours(24),
                )
            ],
        )
