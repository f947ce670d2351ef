"""What runs: the webhook endpoint, the consumer of late invalidations, the sweep, and a sample endpoint that reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations

from stripe_cache_cdk.constructs.eventbridge_source import EventBridgeSource
from stripe_cache_cdk.constructs.reconciler import Reconciler
from stripe_cache_cdk.constructs.runtime_function import HANDLERS, FunctionOptions, RuntimeFunction
from stripe_cache_cdk.constructs.webhook_endpoint import WebhookEndpoint
from stripe_cache_cdk.stacks.base import StageStack
from stripe_cache_cdk.stacks.store import retention

if TYPE_CHECKING:
    from constructs import Construct

    from stripe_cache_cdk.config import StageConfig
    from stripe_cache_cdk.constructs.stripe_cache import StripeCache

ENTITLEMENTS = "/entitlements/{customer}"


class ServiceStack(StageStack):
    """Functions and the API; nothing in it holds state, so it may be deleted and deployed again."""

    def __init__(self, scope: Construct, *, config: StageConfig, cache: StripeCache) -> None:
        super().__init__(scope, "service", config=config, description="Functions and API of the Stripe cache")
        options = FunctionOptions(
            python=config.python,
            architecture=config.architecture,
            log_retention=retention(config),
            snap_start=config.snap_start,
        )
        self.endpoint = WebhookEndpoint(
            self,
            "Webhook",
            cache=cache,
            rate=config.webhook_rate,
            burst=config.webhook_burst,
            reserved_concurrency=config.webhook_concurrency or None,
            options=options,
        )
        self.source: EventBridgeSource | None = None
        if config.stripe_event_bus:
            self.source = EventBridgeSource(
                self, "Events", bus_name=config.stripe_event_bus, consumer=self.endpoint.consumer
            )
        self.reconciler = Reconciler(
            self,
            "Reconciler",
            cache=cache,
            every=cdk.Duration.minutes(config.reconcile_minutes),
            options=options,
        )
        self.entitlements = RuntimeFunction(
            self,
            "Entitlements",
            handler=HANDLERS["entitlements"],
            description="Sample: what a customer is entitled to, read through the cache",
            options=options,
        )
        cache.attach(self.entitlements)
        self.endpoint.api.add_routes(
            path=ENTITLEMENTS,
            methods=[apigateway.HttpMethod.GET],
            integration=integrations.HttpLambdaIntegration("Entitlements", self.entitlements.invoked),
            authorizer=authorizers.HttpIamAuthorizer(),
        )
        cdk.CfnOutput(self, "WebhookUrl", value=self.endpoint.url, description="Register this URL at Stripe")
