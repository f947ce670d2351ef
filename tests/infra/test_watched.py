"""Nothing fails unheard: each dead letter and each function has an alarm of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dashboards import alarms_by_function, of_alarms
from synthesis import COMBINATIONS, merged, render, resources, template_of, text_of

from stripe_cache_cdk import EntitlementsEndpoint, Reconciler, RuntimeFunction, StripeCache
from stripe_cache_cdk.config import Topology

if TYPE_CHECKING:
    import aws_cdk as cdk

EVERYWHERE = pytest.mark.parametrize(("stage", "topology"), COMBINATIONS)


@EVERYWHERE
def test_every_dead_letter_rings(stage: str, topology: Topology) -> None:
    read = {
        text_of(metric["Dimensions"])
        for metric in of_alarms(template_of(stage, topology, "monitoring"))
        if metric["MetricName"] == "ApproximateNumberOfMessagesVisible"
    }
    given_up = [
        name.split(".")[1]
        for name, queue in resources(merged(stage, topology), "AWS::SQS::Queue").items()
        if "RedrivePolicy" not in queue["Properties"]
    ]
    assert len(given_up) == len(read) == 3
    for name in given_up:
        assert any(name in dimensions for dimensions in read), f"nobody hears of {name}"


def test_every_function_of_a_cache_alone_is_watched_too(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", topology=Topology.PUBLIC_VALKEY, refresh=True)
    cache.attach(RuntimeFunction(stack, "Mine", handler="a.b"))
    Reconciler(stack, "Reconciler", cache=cache)
    EntitlementsEndpoint(stack, "Sample", cache=cache)
    template = render(stack)
    functions = set(resources(template, "AWS::Lambda::Function"))
    assert len(functions) == 6
    for metric in ("Errors", "Throttles", "Duration"):
        assert alarms_by_function(template, metric) == functions
