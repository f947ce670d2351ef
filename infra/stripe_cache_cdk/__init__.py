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
from stripe_cache_cdk.constructs.bundling import Bundle
from stripe_cache_cdk.constructs.dynamo_tier import DynamoTier
from stripe_cache_cdk.constructs.entitlements_endpoint import EntitlementsEndpoint
from stripe_cache_cdk.constructs.eventbridge_source import EventBridgeSource
from stripe_cache_cdk.constructs.invalidation_queue import InvalidationConsumer, InvalidationQueue
from stripe_cache_cdk.constructs.monitoring import Monitoring
from stripe_cache_cdk.constructs.network import CacheNetwork
from stripe_cache_cdk.constructs.purge import PurgeFunction
from stripe_cache_cdk.constructs.reconciler import Reconciler
from stripe_cache_cdk.constructs.redis_tier import RedisTier
from stripe_cache_cdk.constructs.refresh_queue import RefreshConsumer, RefreshQueue
from stripe_cache_cdk.constructs.runtime_function import FunctionOptions, RuntimeFunction
from stripe_cache_cdk.constructs.schedule import PeriodicInvocation
from stripe_cache_cdk.constructs.stripe_cache import StripeCache
from stripe_cache_cdk.constructs.webhook_endpoint import WebhookEndpoint
from stripe_cache_cdk.errors import ConstructError, InfrastructureError, StageError
from stripe_cache_cdk.runtime_options import RuntimeOptions
from stripe_cache_cdk.thresholds import Thresholds

__all__ = [
    "STAGES",
    "Architecture",
    "Bundle",
    "CacheNetwork",
    "ConstructError",
    "DynamoTier",
    "EntitlementsEndpoint",
    "EventBridgeSource",
    "Events",
    "FunctionOptions",
    "InfrastructureError",
    "InvalidationConsumer",
    "InvalidationQueue",
    "Monitoring",
    "Nat",
    "PeriodicInvocation",
    "PurgeFunction",
    "Reconciler",
    "RedisKind",
    "RedisTier",
    "RefreshConsumer",
    "RefreshQueue",
    "RuntimeFunction",
    "RuntimeOptions",
    "StageConfig",
    "StageError",
    "StripeCache",
    "Thresholds",
    "Topology",
    "UsageCaps",
    "WebhookEndpoint",
    "stage_config",
]
