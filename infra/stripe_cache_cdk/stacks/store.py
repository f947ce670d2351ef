"""What is slow to replace: the network, the tiers, the secrets and the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_logs as logs

from stripe_cache_cdk.config import Events, Topology
from stripe_cache_cdk.constructs.network import CacheNetwork
from stripe_cache_cdk.constructs.stripe_cache import StripeCache
from stripe_cache_cdk.stacks.base import StageStack

if TYPE_CHECKING:
    from constructs import Construct

    from stripe_cache_cdk.config import StageConfig


class StoreStack(StageStack):
    """The cache without functions, which the other stacks attach to it."""

    def __init__(self, scope: Construct, *, config: StageConfig) -> None:
        super().__init__(scope, "store", config=config, description="Tiers, secrets and queue of the Stripe cache")
        network = None
        if config.topology is Topology.VPC_VALKEY:
            network = CacheNetwork(
                self,
                "Network",
                cidr=config.cidr,
                azs=config.azs,
                nat=config.nat,
                nat_gateways=config.nat_gateways,
                flow_logs=config.flow_logs,
                log_retention=retention(config),
            )
        self.cache = StripeCache(
            self,
            "Cache",
            topology=config.topology,
            namespace=config.namespace or "main",
            livemode=config.livemode,
            stage=config.stage,
            events=Events.EXTERNAL,
            network=network,
            redis_kind=config.redis_kind,
            usage_caps=config.usage_caps,
            node_type=config.node_type,
            replicas=config.replicas,
            retain=config.retain,
            monitoring=False,
        )
        cdk.CfnOutput(
            self, "ApiKeySecret", value=self.cache.api_key_secret.secret_arn, description="Put the API key here"
        )
        cdk.CfnOutput(
            self, "WebhookSecret", value=self.cache.webhook_secret.secret_arn, description="Put the signing secret here"
        )


def retention(config: StageConfig) -> logs.RetentionDays:
    """Return the member of RetentionDays for the stage's number of days."""
    by_days = {
        1: "ONE_DAY",
        3: "THREE_DAYS",
        5: "FIVE_DAYS",
        7: "ONE_WEEK",
        14: "TWO_WEEKS",
        30: "ONE_MONTH",
        60: "TWO_MONTHS",
        90: "THREE_MONTHS",
        180: "SIX_MONTHS",
        365: "ONE_YEAR",
        731: "TWO_YEARS",
        1827: "FIVE_YEARS",
        3653: "TEN_YEARS",
    }
    return logs.RetentionDays[by_days[config.log_retention_days]]
