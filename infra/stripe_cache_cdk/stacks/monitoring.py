"""What is watched: the dashboard, the alarms and their topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stripe_cache_cdk.constructs.monitoring import Monitoring
from stripe_cache_cdk.stacks.base import StageStack

if TYPE_CHECKING:
    from constructs import Construct

    from stripe_cache_cdk.config import StageConfig
    from stripe_cache_cdk.stacks.service import ServiceStack
    from stripe_cache_cdk.stacks.store import StoreStack


class MonitoringStack(StageStack):
    """Depends on the other two and nothing depends on it: it can be changed or removed at any time."""

    def __init__(self, scope: Construct, *, config: StageConfig, store: StoreStack, service: ServiceStack) -> None:
        super().__init__(scope, "monitoring", config=config, description="Dashboard and alarms of the Stripe cache")
        self.monitoring = Monitoring(
            self,
            "Monitoring",
            cache=store.cache,
            thresholds=config.thresholds,
            object_types=config.object_types,
            alarm_email=config.alarm_email,
        )
        if store.source:
            self.monitoring.watch(store.source)
        # What the service made is watched through the cache, and its stack must be there first.
        self.add_stack_dependency(service)
