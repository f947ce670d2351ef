"""What is slow to replace: the network, the tiers, the secrets and the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2

from stripe_cache_cdk.config import Events, RedisKind, Topology
from stripe_cache_cdk.constructs.eventbridge_source import EventBridgeSource
from stripe_cache_cdk.constructs.key_access import new_key
from stripe_cache_cdk.constructs.network import CacheNetwork
from stripe_cache_cdk.constructs.stripe_cache import StripeCache
from stripe_cache_cdk.stacks.base import StageStack

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms
    from constructs import Construct

    from stripe_cache_cdk.config import StageConfig


class StoreStack(StageStack):
    """The cache without functions, which the other stacks attach to it."""

    def __init__(self, scope: Construct, *, config: StageConfig) -> None:
        super().__init__(scope, "store", config=config, description="Tiers, secrets and queue of the Stripe cache")
        removal = cdk.RemovalPolicy.RETAIN if config.retain else cdk.RemovalPolicy.DESTROY
        key = entry_key = None
        if config.customer_key:
            key = new_key(self, "Key", description="stripe-cache: data at rest", removal_policy=removal)
        if config.encrypt_entries:
            entry_key = new_key(self, "EntryKey", description="stripe-cache: entries", removal_policy=removal)
        capped = config.topology is not Topology.DYNAMODB_ONLY and config.redis_kind is RedisKind.SERVERLESS
        self.cache = StripeCache(
            self,
            "Cache",
            topology=config.topology,
            namespace=config.namespace or "main",
            livemode=config.livemode,
            stage=config.stage,
            settings=config.runtime,
            events=Events.EXTERNAL,
            network=self._network(config, key, removal) if config.topology is Topology.VPC_VALKEY else None,
            redis_kind=config.redis_kind,
            usage_caps=config.usage_caps if capped else None,
            node_type=config.node_type,
            shards=config.shards,
            replicas=config.replicas,
            encryption_key=key,
            entry_key=entry_key,
            retain=config.retain,
            point_in_time_recovery=config.point_in_time_recovery,
            refresh=True,
            refresh_hot=config.refresh_hot,
            monitoring=False,
        )
        self.source: EventBridgeSource | None = None
        if config.stripe_event_bus:
            # Here and not with the functions: the rule and the queue name each other.
            self.source = EventBridgeSource(
                self, "Events", bus_name=config.stripe_event_bus, queue=self.cache.invalidation_queue
            )
        cdk.CfnOutput(
            self, "ApiKeySecret", value=self.cache.api_key_secret.secret_arn, description="Put the API key here"
        )
        cdk.CfnOutput(
            self, "WebhookSecret", value=self.cache.webhook_secret.secret_arn, description="Put the signing secret here"
        )

    def _network(self, config: StageConfig, key: kms.IKey | None, removal: cdk.RemovalPolicy) -> CacheNetwork:
        image = ec2.MachineImage.generic_linux({config.region: config.nat_image}) if config.nat_image else None
        return CacheNetwork(
            self,
            "Network",
            cidr=config.cidr,
            azs=config.azs,
            nat=config.nat,
            nat_gateways=config.nat_gateways,
            nat_image=image,
            interface_endpoints=config.interface_endpoints,
            flow_logs=config.flow_logs,
            log_retention=self.log_retention,
            encryption_key=key,
            removal_policy=removal,
        )
