from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from synthesis import make_app, render, resources, text_of

from stripe_cache_cdk import CacheNetwork, ConstructError, Nat, RedisTier, stage_config
from stripe_cache_cdk.stacks.stage import build_stage


@pytest.mark.parametrize("azs", [2, 3])
@pytest.mark.parametrize("cidr", ["10.0.0.0/16", "10.9.0.0/22"])
def test_every_size_has_room_for_all_subnets(stack: cdk.Stack, azs: int, cidr: str) -> None:
    CacheNetwork(stack, "Network", azs=azs, cidr=cidr)
    assert len(resources(render(stack), "AWS::EC2::Subnet")) == 3 * azs


def test_dynamodb_and_s3_are_reached_without_nat(stack: cdk.Stack) -> None:
    CacheNetwork(stack, "Network")
    endpoints = resources(render(stack), "AWS::EC2::VPCEndpoint")
    assert {endpoint["Properties"]["VpcEndpointType"] for endpoint in endpoints.values()} == {"Gateway"}
    assert [service in text_of(endpoints) for service in (".dynamodb", ".s3")] == [True, True]


@pytest.mark.parametrize(
    ("nat", "count", "gateways", "instances"),
    [(Nat.GATEWAY, 0, 2, 0), (Nat.GATEWAY, 1, 1, 0), (Nat.INSTANCE, 1, 0, 1), (Nat.NONE, 0, 0, 0)],
)
def test_the_way_out_is_the_one_asked_for(
    stack: cdk.Stack, nat: Nat, count: int, gateways: int, instances: int
) -> None:
    CacheNetwork(stack, "Network", nat=nat, nat_gateways=count)
    template = render(stack)
    assert len(resources(template, "AWS::EC2::NatGateway")) == gateways
    assert len(resources(template, "AWS::EC2::Instance")) == instances
    assert bool(resources(template, "AWS::EC2::InternetGateway")) == (nat is not Nat.NONE)


@pytest.mark.parametrize("nat", Nat)
def test_functions_and_cache_live_apart(stack: cdk.Stack, nat: Nat) -> None:
    network = CacheNetwork(stack, "Network", nat=nat)
    functions = {subnet.node.path for subnet in network.function_subnets}
    caches = {subnet.node.path for subnet in network.cache_subnets}
    assert len(functions) == len(caches) == 2
    assert not functions & caches


def test_interface_endpoints_and_flow_logs_are_optional(stack: cdk.Stack) -> None:
    CacheNetwork(stack, "Network", interface_endpoints=["secretsmanager", "sqs"], flow_logs=False)
    template = render(stack)
    kinds = [found["Properties"]["VpcEndpointType"] for found in resources(template, "AWS::EC2::VPCEndpoint").values()]
    assert sorted(kinds) == ["Gateway", "Gateway", "Interface", "Interface"]
    assert not resources(template, "AWS::EC2::FlowLog")


@pytest.mark.parametrize(
    ("props", "told"),
    [
        ({"cidr": "10.0.0.0/24"}, "leave Lambda too few addresses"),
        ({"cidr": "10.0.0.0/28"}, "between /16 and /22"),
        ({"cidr": "8.8.0.0/16"}, "is public: use part of 10"),
        ({"cidr": ""}, "write it as"),
        ({"azs": 1}, "azs=1: give 2 to 3 availability zones"),
        ({"azs": "3"}, "azs='3': give a whole number"),
        ({"nat_gateways": 3}, "nat_gateways=3: give 0 to 2"),
        ({"nat": "bogus"}, "nat='bogus' is unknown: choose one of gateway, instance, none"),
        ({"interface_endpoints": ["Secrets Manager"]}, "services such as secretsmanager"),
        ({"interface_endpoints": ["sqs", "s3"]}, "interface_endpoints='s3': its gateway endpoint .*: leave it out"),
        ({"interface_endpoints": ["sqs", "kms", "sqs"]}, "interface_endpoints='sqs' is named twice: name it once"),
        ({"nat_image": ec2.MachineImage.latest_amazon_linux2023()}, "starts no instance: pass nat=Nat.INSTANCE"),
    ],
)
def test_what_cannot_work_is_refused_with_the_path(stack: cdk.Stack, props: dict[str, object], told: str) -> None:
    with pytest.raises(ConstructError, match=rf"^Test/Network: .*{told}"):
        CacheNetwork(stack, "Network", **props)  # type: ignore[arg-type]  # Wrong on purpose.


def test_text_in_place_of_the_enumeration_means_the_same(stack: cdk.Stack) -> None:
    network = CacheNetwork(stack, "Network", nat="none")  # type: ignore[arg-type]  # As an untyped caller would.
    assert not network.can_reach_stripe
    assert not resources(render(stack), "AWS::EC2::InternetGateway")


def test_a_region_of_two_zones_gets_no_third() -> None:
    stack = cdk.Stack(make_app(), "Test", env=cdk.Environment(account="123456789012", region="us-west-1"))
    with pytest.raises(ConstructError, match=r"^Test/Network: azs=3: region us-west-1 has two zones.*: pass azs=2$"):
        CacheNetwork(stack, "Network", azs=3)


def test_the_image_of_nat_instances_is_found_at_deployment_or_is_yours() -> None:
    images: dict[str, Any] = {}
    for name in ("", "ami-0123456789abcdef0"):
        place = {"topology": "vpc-valkey", "account": "123456789012", "region": "eu-west-1", "nat_image": name}
        app = make_app()
        store = build_stage(app, stage_config("dev", **place)).store
        assembly = app.synth()
        assert "missing" not in json.loads((Path(assembly.directory) / "manifest.json").read_text())
        template = assembly.get_stack_by_name(store.stack_name).template
        (instance,) = resources(template, "AWS::EC2::Instance").values()
        images[name] = instance["Properties"]["ImageId"]
        if not name:
            kind = template["Parameters"][images[name]["Ref"]]["Type"]
            assert kind == "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"
    assert images["ami-0123456789abcdef0"] == "ami-0123456789abcdef0"


def test_flow_logs_can_be_encrypted_and_kept(stack: cdk.Stack) -> None:
    key = kms.Key(stack, "Key")
    CacheNetwork(stack, "Network", encryption_key=key, removal_policy=cdk.RemovalPolicy.RETAIN)
    template = render(stack)
    (group,) = resources(template, "AWS::Logs::LogGroup").values()
    assert "KmsKeyId" in group["Properties"]
    assert group["DeletionPolicy"] == "Retain"
    (made,) = resources(template, "AWS::KMS::Key").values()
    statements = made["Properties"]["KeyPolicy"]["Statement"]
    assert any("logs." in text_of(one["Principal"]) and "Condition" in one for one in statements)


def test_a_new_vpc_can_do_without_gateway_endpoints(stack: cdk.Stack) -> None:
    CacheNetwork(stack, "Network", gateway_endpoints=False)
    assert not resources(render(stack), "AWS::EC2::VPCEndpoint")


def test_two_caches_share_a_network(stack: cdk.Stack) -> None:
    """Each with security groups of its own: who may reach the one may not reach the other."""
    network = CacheNetwork(stack, "Network")
    tiers = [RedisTier(stack, name, network=network) for name in ("One", "Two")]
    assert tiers[0].client_group is not tiers[1].client_group
    template = render(stack)
    assert len(resources(template, "AWS::EC2::SecurityGroup")) == 4
    groups = [
        text_of(cache["Properties"]["SecurityGroupIds"])
        for cache in resources(template, "AWS::ElastiCache::ServerlessCache").values()
    ]
    assert len(set(groups)) == 2
