"""All stacks of one stage, wired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stripe_cache_cdk.stacks.monitoring import MonitoringStack
from stripe_cache_cdk.stacks.service import ServiceStack
from stripe_cache_cdk.stacks.store import StoreStack

if TYPE_CHECKING:
    from constructs import Construct

    from stripe_cache_cdk.config import StageConfig


@dataclass(frozen=True)
class StageStacks:
    """The stacks of a stage, in the order in which they are deployed."""

    store: StoreStack
    service: ServiceStack
    monitoring: MonitoringStack


def build_stage(scope: Construct, config: StageConfig) -> StageStacks:
    """Add the stage's stacks to the app."""
    store = StoreStack(scope, config=config)
    service = ServiceStack(scope, config=config, cache=store.cache)
    return StageStacks(store, service, MonitoringStack(scope, config=config, store=store, service=service))
