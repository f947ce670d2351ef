"""The function that looks, at a fixed interval, for events that never arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from constructs import Construct

from stripe_cache_cdk.constructs.runtime_function import HANDLERS, FunctionOptions, RuntimeFunction
from stripe_cache_cdk.constructs.schedule import PeriodicInvocation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_cache_cdk.constructs.attaching import Attaches

TIMEOUT = cdk.Duration.minutes(2)
"""Ten requests to Stripe and the invalidations they lead to; a sweep stops by itself before."""


class Reconciler(Construct):
    """Sweeps Stripe's list of events every `every` (15 minutes unless given) and voids what webhooks missed.

    A sweep costs at least one read of Stripe's: every 15 minutes is 3,000 a month, of the 10,000 a quiet account has.
    `accounts` are connected accounts to sweep besides the operator's own; `calls` is the most requests per account and
    sweep. Never two sweeps at once: they would do the same work twice.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cache: Attaches,
        every: cdk.Duration | None = None,
        accounts: Sequence[str] = (),
        calls: int = 10,
        options: FunctionOptions | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.function = RuntimeFunction(
            self,
            "Function",
            handler=HANDLERS["reconcile"],
            description="Voids what events say has changed that never arrived",
            timeout=TIMEOUT,
            options=options,
        )
        cache.attach(self.function)
        self.schedule = PeriodicInvocation(
            self,
            "Schedule",
            function=self.function,
            every=every or cdk.Duration.minutes(15),
            payload={"calls": calls, "accounts": list(accounts)},
        )
