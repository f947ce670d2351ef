"""A store that was deployed takes another setting by an update: what CloudFormation would refuse is found here."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
from synthesis import make_app, render, template_of, text_of

from stripe_cache_cdk.config import Topology, stage_config
from stripe_cache_cdk.stacks.store import StoreStack

VARIANTS: dict[str, dict[str, object]] = {
    "no Redis": {"topology": "dynamodb-only"},
    "public": {"topology": "public-valkey", "customer_key": True, "encrypt_entries": True},
    "two zones": {"topology": "vpc-valkey", "azs": 2},
    "three zones": {"topology": "vpc-valkey", "azs": 3, "nat": "instance", "interface_endpoints": "sqs"},
    "cluster": {"topology": "vpc-valkey", "redis_kind": "nodes", "stripe_event_bus": "aws.partner/stripe.com/ed_1"},
    "one node": {"topology": "vpc-valkey", "redis_kind": "nodes", "replicas": 0},
}


@functools.cache
def store(variant: str) -> dict[str, Any]:
    found: dict[str, Any] = render(StoreStack(make_app(), config=stage_config("prod", **VARIANTS[variant])))
    return found["Resources"]


def test_no_setting_gives_a_logical_id_another_type() -> None:
    """A resource keeps its type: CloudFormation refuses the whole update otherwise."""
    kinds: dict[str, set[str]] = {}
    for variant in VARIANTS:
        for logical_id, found in store(variant).items():
            kinds.setdefault(logical_id, set()).add(found["Type"])
    caches = {"AWS::ElastiCache::ServerlessCache", "AWS::ElastiCache::ReplicationGroup"}
    assert caches < {kind for found in kinds.values() for kind in found}
    assert {logical_id: found for logical_id, found in kinds.items() if len(found) > 1} == {}


def test_a_third_zone_leaves_the_subnets_of_two_where_they_are() -> None:
    """The third zone's subnets are made while the others exist, and CloudFormation moves none of them meanwhile."""
    two, three = (
        {
            logical_id: found["Properties"]["CidrBlock"]
            for logical_id, found in store(variant).items()
            if found["Type"] == "AWS::EC2::Subnet"
        }
        for variant in ("two zones", "three zones")
    )
    assert (len(two), len(three)) == (6, 9)
    assert two.items() <= three.items()
    assert len(set(three.values())) == 9


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_kept_stands_on_nothing_that_is_deleted(variant: str) -> None:
    """A cache that is kept holds on to its subnets, and its stack could never be deleted."""
    resources = store(variant)
    kept = {name for name, found in resources.items() if found.get("DeletionPolicy") == "Retain"}
    kinds = {resources[name]["Type"] for name in kept}
    assert kinds >= {"AWS::DynamoDB::GlobalTable", "AWS::SecretsManager::Secret", "AWS::SQS::Queue"}
    assert not [kind for kind in kinds if kind.startswith("AWS::ElastiCache::")]
    for name in kept:
        words = set(re.findall(r"\w+", text_of(resources[name]["Properties"])))
        assert words & set(resources) <= kept, name
    # None of them has a name that the next stack would want.
    assert not re.search(r'"(Table|Queue|Serverless\w*)?Name":', text_of([resources[name] for name in kept]))


def test_functions_can_leave_the_network_while_it_is_still_there() -> None:
    """docs/deploy.md: the deployed store tells already what they run with outside, so that their stack can go first."""
    store_outputs = template_of("prod", Topology.VPC_VALKEY, "store")["Outputs"]
    wanted = outputs_read(template_of("prod", Topology.DYNAMODB_ONLY, "service"))
    assert len(wanted) > 5
    assert wanted <= set(store_outputs)


def outputs_read(part: Any) -> set[str]:
    """Return the names of other stacks' outputs that a part of a template reads."""
    if isinstance(part, dict):
        found = {part["Fn::GetStackOutput"]["OutputName"]} if "Fn::GetStackOutput" in part else set()
        return found.union(*map(outputs_read, part.values()))
    return set().union(*map(outputs_read, part)) if isinstance(part, list) else set()
