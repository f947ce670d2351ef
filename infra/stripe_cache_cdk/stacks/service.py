"""What runs: the webhook endpoint, the consumers of both queues, the sweep, and a sample endpoint that reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk

from stripe_cache_cdk.constructs.entitlements_endpoint import EntitlementsEndpoint
from stripe_cache_cdk.constructs.purge import PurgeFunction
from stripe_cache_cdk.constructs.reconciler import Reconciler
from stripe_cache_cdk.constructs.refresh_queue import RefreshConsumer
from stripe_cache_cdk.constructs.runtime_function import FunctionOptions
from stripe_cache_cdk.constructs.webhook_endpoint import WebhookEndpoint
from stripe_cache_cdk.stacks.base import StageStack

if TYPE_CHECKING:
    from constructs import Construct

    from stripe_cache_cdk.config import StageConfig
    from stripe_cache_cdk.constructs.stripe_cache import StripeCache


class ServiceStack(StageStack):
    """Functions and the API; nothing in it holds state, so it may be deleted and deployed again."""

    def __init__(self, scope: Construct, *, config: StageConfig, cache: StripeCache) -> None:
        super().__init__(scope, "service", config=config, description="Functions and API of the Stripe cache")
        options = FunctionOptions(
            python=config.python,
            architecture=config.architecture,
            log_retention=self.log_retention,
            snap_start=config.snap_start,
            extras=("encryption",) if config.encrypt_entries else (),
            log_key=cache.encryption_key,
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
        self.refresh = RefreshConsumer(self, "Refresh", cache=cache, options=options)
        self.reconciler = Reconciler(
            self,
            "Reconciler",
            cache=cache,
            every=cdk.Duration.minutes(config.reconcile_minutes),
            options=options,
        )
        self.entitlements = EntitlementsEndpoint(self, "Entitlements", cache=cache, options=options)
        self.purge = PurgeFunction(self, "Purge", cache=cache, options=options) if config.purge else None
        cdk.CfnOutput(self, "WebhookUrl", value=self.endpoint.url, description="Register this URL at Stripe")
        cdk.CfnOutput(self, "EntitlementsUrl", value=self.entitlements.url, description="The sample, for IAM callers")
