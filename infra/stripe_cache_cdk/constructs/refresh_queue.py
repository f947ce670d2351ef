"""Where a reader that answered with a stale entry asks for a fresh one, and the function that fetches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from constructs import Construct

from stripe_cache_cdk.checks import check_range
from stripe_cache_cdk.constructs.dead_letters import dead_letter_queue
from stripe_cache_cdk.constructs.key_access import encrypt_queue
from stripe_cache_cdk.constructs.props import checked
from stripe_cache_cdk.constructs.runtime_function import HANDLERS, FunctionOptions, RuntimeFunction
from stripe_cache_cdk.constructs.work_queue import feed, work_queue
from stripe_cache_cdk.errors import naming

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

    from stripe_cache_cdk.constructs.attaching import Attaches

TIMEOUT = cdk.Duration.minutes(1)
"""A batch of reads, each of which gives up after 10 s at most."""
BATCH = 5
RECEIVES = 3
KEPT = cdk.Duration.hours(1)
"""A refresh that nobody made by then is not worth a call: whoever still reads the entry has asked again."""


class RefreshQueue(Construct):
    """An encrypted queue for an hour, and one for what failed three times in a row, kept 14 days.

    A message names what to read and never with which key. With such a queue, attached functions serve a stale entry at
    once, within the policy's stale window, and ask here for its renewal; without one they wait for Stripe.
    `encryption_key` replaces SQS's own; who sends needs it too.
    """

    @checked
    def __init__(self, scope: Construct, construct_id: str, *, encryption_key: kms.IKey | None = None) -> None:
        super().__init__(scope, construct_id)
        self.dead_letters = dead_letter_queue(self, "DeadLetters")
        self.queue = work_queue(
            self,
            dead_letters=self.dead_letters,
            kept=KEPT,
            receives=RECEIVES,
            consumer_timeout=TIMEOUT,
            unread="what is served stale is not renewed: make a RefreshConsumer",
        )
        if encryption_key:
            encrypt_queue(self.queue, encryption_key)
            encrypt_queue(self.dead_letters, encryption_key)


class RefreshConsumer(Construct):
    """The function that reads from Stripe what was asked for, a batch at a time, reporting which messages failed.

    It reads with the cache's own API key: entries of other keys are left to their owners. At most `most_at_once` (2)
    run at a time, so that refreshes never crowd out the calls that somebody waits for.
    """

    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cache: Attaches,
        most_at_once: int = 2,
        options: FunctionOptions | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        with naming(self):
            check_range("most_at_once", most_at_once, 2, 1_000, "sandboxes, which are the bounds of SQS")
        self.function = RuntimeFunction(
            self,
            "Function",
            handler=HANDLERS["refresh"],
            description="Reads anew what was served stale",
            timeout=TIMEOUT,
            options=options,
        )
        cache.attach(self.function, asks_refreshes=False)
        feed(self.function, cache.refresh_queue.queue, batch=BATCH, most_at_once=most_at_once)
