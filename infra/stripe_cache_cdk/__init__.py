"""CDK constructs that put the Stripe cache into an AWS account.

Another app needs two lines: `cache = StripeCache(self, "Cache")` and `cache.attach(my_function)`. Each part can be used
alone. Nothing here imports the runtime: it travels as files.
"""

from stripe_cache_cdk.config import (
    STAGES,
    Architecture,
    Events,
    Nat,
    RedisKind,
    StageConfig,
    Topology,
    UsageCaps,
    stage_config,
)
from stripe_cache_cdk.constructs.dynamo_tier import DynamoTier
from stripe_cache_cdk.constructs.eventbridge_source import EventBridgeSource
from stripe_cache_cdk.constructs.invalidation_queue import InvalidationConsumer, InvalidationQueue
from stripe_cache_cdk.constructs.monitoring import Monitoring, Thresholds
from stripe_cache_cdk.constructs.network import CacheNetwork
from stripe_cache_cdk.constructs.reconciler import Reconciler
from stripe_cache_cdk.constructs.redis_tier import RedisTier
from stripe_cache_cdk.constructs.runtime_function import FunctionOptions, RuntimeFunction
from stripe_cache_cdk.constructs.schedule import PeriodicInvocation
from stripe_cache_cdk.constructs.stripe_cache import StripeCache
from stripe_cache_cdk.constructs.webhook_endpoint import WebhookEndpoint
from stripe_cache_cdk.errors import ConstructError, InfrastructureError, StageError

__all__ = [
    "STAGES",
    "Architecture",
    "CacheNetwork",
    "ConstructError",
    "DynamoTier",
    "EventBridgeSource",
    "Events",
    "FunctionOptions",
    "InfrastructureError",
    "InvalidationConsumer",
    "InvalidationQueue",
    "Monitoring",
    "Nat",
    "PeriodicInvocation",
    "Reconciler",
    "RedisKind",
    "RedisTier",
    "RuntimeFunction",
    "StageConfig",
    "StageError",
    "StripeCache",
    "Thresholds",
    "Topology",
    "UsageCaps",
    "WebhookEndpoint",
    "stage_config",
]
