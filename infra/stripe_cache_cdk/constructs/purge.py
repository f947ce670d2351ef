"""The function that erases a customer from the stores, and alone may search them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from constructs import Construct

from stripe_cache_cdk.constructs.props import checked
from stripe_cache_cdk.constructs.runtime_function import FunctionOptions, RuntimeFunction

if TYPE_CHECKING:
    from stripe_cache_cdk.constructs.stripe_cache import StripeCache

HANDLER = "stripe_cache.handlers.purge.handler"
TIMEOUT = cdk.Duration.minutes(15)
"""Lambda's longest; a purge stops by itself before, and says where to go on."""


class PurgeFunction(Construct):
    """Erases a customer: invoke it with `{"customer": "cus_1"}`, again with the report's cursor while there is one.

    Its role is the only one that may scan the table, delete items, and list the keys of Redis. Nothing invokes it by
    itself, and it needs no key of Stripe's. A run reads the whole store: in DynamoDB 0.125 USD per million of 4 KB
    read. One at a time: it is invoked by hand, and two would read everything twice.
    """

    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cache: StripeCache,
        options: FunctionOptions | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.function = RuntimeFunction(
            self,
            "Function",
            handler=HANDLER,
            description="Erases everything about a customer from the stores",
            memory_mb=1_024,
            timeout=TIMEOUT,
            options=options,
        )
        cache.attach_purge(self.function)
