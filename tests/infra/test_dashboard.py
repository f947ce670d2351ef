"""What the dashboard draws, and what it must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dashboards import dashboard
from synthesis import render, template_of

from stripe_cache_cdk import Events, Monitoring, StripeCache, Topology
from stripe_cache_cdk.constructs.monitoring import metrics
from stripe_cache_cdk.constructs.monitoring.metrics import CacheMetrics

if TYPE_CHECKING:
    import aws_cdk as cdk


def test_without_object_types_there_is_no_empty_graph(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.NONE, monitoring=False)
    Monitoring(stack, "Watch", cache=cache, object_types=())
    widgets = [widget["properties"] for widget in dashboard(render(stack))]
    assert all(widget["metrics"] for widget in widgets)
    assert not [widget for widget in widgets if widget["title"] == "Hit ratio by object type"]


def test_the_reads_of_30_days_are_added_up_over_30_days_whatever_range_is_shown() -> None:
    template = template_of("dev", Topology.DYNAMODB_ONLY, "monitoring")
    (widget,) = [found["properties"] for found in dashboard(template) if "30 days" in found["properties"]["title"]]
    assert (widget["start"], widget["setPeriodToTimeRange"], widget["view"]) == ("-P30D", True, "singleValue")
    assert [line[1] for line in widget["metrics"]] == ["OriginReads"]


def test_a_metric_is_not_drawn_under_dimensions_that_nobody_emits() -> None:
    with pytest.raises(KeyError, match=r"OriginCall is not emitted by \['tier'\]"):
        CacheMetrics(stage="dev").count(metrics.ORIGIN_CALL, tier="redis")
