"""The function that looks, at a fixed interval, for events that never arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from constructs import Construct

from stripe_cache_cdk.constructs.props import checked
from stripe_cache_cdk.constructs.runtime_function import HANDLERS, FunctionOptions, RuntimeFunction
from stripe_cache_cdk.constructs.schedule import PeriodicInvocation
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_cache_cdk.constructs.attaching import Attaches

TIMEOUT = cdk.Duration.minutes(2)
"""A hundred requests to Stripe and the invalidations they lead to; a sweep stops by itself before."""
RAREST = cdk.Duration.days(1)
"""What an alarm can still watch: it looks back a week at most, and must see several sweeps."""


class Reconciler(Construct):
    """Sweeps Stripe's list of events every `every` (15 minutes unless given) and voids what webhooks missed.

    Each sweep begins by telling tiers what they missed while they were away, from the outbox in the table: until then
    Redis may serve the old answer, so `every` bounds that as well. Only this function and a purge may list the keys of
    Redis, which it does when an outbox overflowed.

    `every` is one minute to one day. A sweep costs at least one read of Stripe's: every 15 minutes is 3,000 a month, of
    the 10,000 a quiet account has. `accounts` are connected accounts to sweep besides the operator's own; `calls` is
    the most requests per account and sweep, each of 100 events, and a sweep makes as many as there are events for:
    with 100 it keeps up with 16 events a second every 5 minutes, with 8 every 15. Two sweeps at once would do the same
    work twice, and harm nothing else.
    """

    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cache: Attaches,
        every: cdk.Duration | None = None,
        accounts: Sequence[str] = (),
        calls: int = 100,
        options: FunctionOptions | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        every = every or cdk.Duration.minutes(15)
        if calls < 1 and not cdk.Token.is_unresolved(calls):
            raise ConstructError(self, f"calls={calls} allows no request", "pass 1 or more")
        if not every.is_unresolved() and every.to_seconds(integral=False) > RAREST.to_seconds():
            raise ConstructError(
                self,
                f"every={every.to_seconds()} s is longer than a day",
                "sweep once a day or more often: a sweep that does not run must be noticed",
            )
        self.function = RuntimeFunction(
            self,
            "Function",
            handler=HANDLERS["reconcile"],
            description="Voids what events say has changed that never arrived",
            timeout=TIMEOUT,
            options=options,
            vital=True,
        )
        cache.attach(self.function, asks_refreshes=cache.refreshes_hot, replays=True)
        self.schedule = PeriodicInvocation(
            self,
            "Schedule",
            function=self.function,
            every=every,
            payload={"calls": calls, "accounts": list(accounts)},
        )
        cache.watched.add(self)
