"""What a stage may count on where it is deployed: the account's quotas, its bootstrap, and what the region has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import aws_cdk as cdk
import pytest
from aws_cdk import assertions
from synthesis import COMBINATIONS, make_app, resources, template_of

from stripe_cache_cdk import ConstructError, EventBridgeSource, StageError, stage_config
from stripe_cache_cdk.constructs.invalidation_queue import InvalidationQueue
from stripe_cache_cdk.stacks.base import StageStack

if TYPE_CHECKING:
    from stripe_cache_cdk.config import Topology

BUS = "aws.partner/stripe.com/ed_1"


@pytest.mark.parametrize(("stage", "topology"), COMBINATIONS)
def test_every_stage_can_be_deployed_into_a_new_account(stage: str, topology: Topology) -> None:
    """A new account runs 10 sandboxes at once, and Lambda lets none of them be reserved."""
    for function in resources(template_of(stage, topology, "service"), "AWS::Lambda::Function").values():
        assert "ReservedConcurrentExecutions" not in function["Properties"]


def part(app: cdk.App, name: str, **overrides: str) -> StageStack:
    stack = StageStack(app, name, config=stage_config("dev", **overrides), description="A part")
    cdk.CfnWaitConditionHandle(stack, "Something")
    return stack


@pytest.mark.parametrize(("region", "told"), [("xx-nowhere-9", True), ("eu-west-1", False), ("eusc-de-east-1", False)])
def test_a_region_that_nobody_knows_is_a_warning(region: str, *, told: bool) -> None:
    stack = part(make_app(), "part", region=region)
    said = assertions.Annotations.from_stack(stack).find_warning("*", assertions.Match.any_value())
    assert [f"region='{region}' is none that" in str(one.entry.data) for one in said] == [True] * told


def test_stripe_sends_no_events_to_other_partitions() -> None:
    stack = cdk.Stack(make_app(), "Test", env=cdk.Environment(account="123456789012", region="us-gov-west-1"))
    with pytest.raises(ConstructError, match=r"^Test/Bus: region us-gov-west-1 has no event sources .*: let events"):
        EventBridgeSource(stack, "Bus", bus_name=BUS, queue=InvalidationQueue(stack, "Queue"))
    with pytest.raises(StageError, match=r"^stripe_event_bus=.*: region cn-north-1 has no .* only: leave it out"):
        stage_config("dev", region="cn-north-1", stripe_event_bus=BUS)


def test_a_stage_may_have_a_bootstrap_of_its_own() -> None:
    app = make_app()
    part(app, "mine", qualifier="stripedev")
    part(app, "other")
    assembly = app.synth()
    manifest = json.loads((Path(assembly.directory) / "manifest.json").read_text())["artifacts"]
    roles = {
        name.rpartition("-")[2]: found["properties"]["assumeRoleArn"]
        for name, found in manifest.items()
        if "assumeRoleArn" in found.get("properties", {})
    }
    assert {name: role.split("role/")[1].split("-deploy")[0] for name, role in roles.items()} == {
        "mine": "cdk-stripedev",
        "other": "cdk-hnb659fds",
    }
