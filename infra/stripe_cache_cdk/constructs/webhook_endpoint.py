"""Stripe's way in over HTTPS: a throttled HTTP API in front of the function that verifies and applies events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_integrations as integrations
from constructs import Construct

from stripe_cache_cdk.constructs.http_api import http_api, throttle_routes
from stripe_cache_cdk.constructs.invalidation_queue import InvalidationConsumer
from stripe_cache_cdk.constructs.nag import acknowledge
from stripe_cache_cdk.constructs.props import checked
from stripe_cache_cdk.constructs.runtime_function import HANDLERS, FunctionOptions, RuntimeFunction
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from stripe_cache_cdk.constructs.attaching import Attaches

PATH = "/stripe/events"
# Stripe gives up after 20 s and sends again; below that, a slow tier ends in the queue and not in a retry.
TIMEOUT = cdk.Duration.seconds(15)


class WebhookEndpoint(Construct):
    """POST /stripe/events of an HTTP API, its function, and the consumer of what that function had to queue.

    `rate` and `burst` are requests per second over all callers (default 50 and 100): a flood of forged events is
    refused before it starts functions, and Stripe sends what was refused again. Admitted ones run at most 15 s each, so
    that at the worst 15 times `rate` run at once; `reserved_concurrency` (1 or more) caps that, and takes it out of the
    account's quota, which is why none is reserved unless given: a new account has 10 in all. The signing secret is the
    cache's webhook secret. While it is rolled, either make its value a JSON list of both, or let AWSPREVIOUS hold the
    old one. `url` is what to register.
    """

    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cache: Attaches,
        rate: int = 50,
        burst: int = 100,
        reserved_concurrency: int | None = None,
        options: FunctionOptions | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        refuses_all = reserved_concurrency is not None and reserved_concurrency < 1
        # What is known at deployment only is a negative number to Python; Lambda checks that one.
        if refuses_all and not cdk.Token.is_unresolved(reserved_concurrency):
            raise ConstructError(
                self,
                f"reserved_concurrency={reserved_concurrency} would refuse every event",
                "reserve 1 or more, or pass None",
            )
        options = options or FunctionOptions()
        self.api = http_api(self, "Api", rate=rate, burst=burst, options=options)
        self.function = RuntimeFunction(
            self,
            "Function",
            handler=HANDLERS["webhook"],
            description="Verifies Stripe's signature and voids what the event changed",
            timeout=TIMEOUT,
            reserved_concurrency=reserved_concurrency,
            options=options,
            vital=True,
        )
        cache.attach(self.function, calls_stripe=False)
        cache.grant_webhook_secret(self.function)
        self.consumer = InvalidationConsumer(self, "Consumer", cache=cache, options=options)
        routes = self.api.add_routes(
            path=PATH,
            methods=[apigateway.HttpMethod.POST],
            integration=integrations.HttpLambdaIntegration("Webhook", self.function.invoked),
        )
        for route in routes:
            acknowledge(route, AwsSolutions_APIG4="Stripe signs each request, and the function checks the signature.")
        throttle_routes(self.api, routes, [f"POST {PATH}"], rate=rate, burst=burst)
        self.url = f"{self.api.api_endpoint}{PATH}"
        cache.watched.add(self)
