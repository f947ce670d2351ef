"""The comments that say what a stage costs while nothing happens, against what its templates contain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from synthesis import ROOT, merged, resources

from stripe_cache_cdk.config import STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping

# USD a month of 730 hours, us-east-1, list prices of 2026-11. Dashboards: an account's first three are free.
PRICES: Mapping[str, float] = {
    "AWS::EC2::NatGateway": 0.045 * 730,
    "AWS::EC2::EIP": 0.005 * 730,
    "AWS::EC2::Instance": (0.0042 + 0.005) * 730 + 8 * 0.08,
    "AWS::ElastiCache::ServerlessCache": 0.084 * 0.1 * 730,
    "AWS::KMS::Key": 1.0,
    "AWS::SecretsManager::Secret": 0.40,
}
PER_ALARM_METRIC = 0.10


def alarm_metrics(alarm: dict[str, Any]) -> int:
    """Return how many metrics an alarm is billed for: each one that its expression looks at."""
    return len([part for part in alarm.get("Metrics", []) if "MetricStat" in part]) or 1


def said(stage: str) -> float:
    source = (ROOT / "infra" / "stripe_cache_cdk" / "config.py").read_text()
    (found,) = re.findall(rf'# Fixed cost about (\d+) USD [^"]*?StageConfig\(\s*stage="{stage}"', source)
    return float(found)


@pytest.mark.parametrize("stage", STAGES)
def test_the_comment_on_a_stage_says_what_it_costs(stage: str) -> None:
    template = merged(stage, STAGES[stage].topology)
    priced = [PRICES.get(found["Type"], 0.0) for found in template["Resources"].values()]
    alarms = resources(template, "AWS::CloudWatch::Alarm").values()
    metrics = sum(alarm_metrics(alarm["Properties"]) for alarm in alarms)
    cost = sum(priced) + metrics * PER_ALARM_METRIC
    assert cost > 2
    # An alarm more or less is no reason to rewrite a comment.
    assert said(stage) == pytest.approx(cost, rel=0.05, abs=1.0)
    interface = [
        found
        for found in resources(template, "AWS::EC2::VPCEndpoint").values()
        if found["Properties"]["VpcEndpointType"] == "Interface"
    ]
    assert not interface
    assert not resources(template, "AWS::ElastiCache::ReplicationGroup")
