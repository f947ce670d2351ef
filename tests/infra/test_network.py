from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aws_cdk import aws_ec2 as ec2
from synthesis import render, resources, text_of

from stripe_cache_cdk import CacheNetwork, ConstructError, Nat

if TYPE_CHECKING:
    import aws_cdk as cdk


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
        ({"azs": 1}, "two zones"),
        ({"nat_gateways": 3}, "of 2 zones"),
    ],
)
def test_what_cannot_work_is_refused_with_the_path(stack: cdk.Stack, props: dict[str, object], told: str) -> None:
    with pytest.raises(ConstructError, match=rf"^Test/Network: .*{told}"):
        CacheNetwork(stack, "Network", **props)  # type: ignore[arg-type]  # Wrong on purpose.


def test_an_existing_vpc_is_used_as_it_is(stack: cdk.Stack) -> None:
    vpc = ec2.Vpc.from_vpc_attributes(
        stack,
        "Theirs",
        vpc_id="vpc-1",
        availability_zones=["a", "b"],
        private_subnet_ids=["subnet-1", "subnet-2"],
        private_subnet_route_table_ids=["rtb-1", "rtb-2"],
    )
    network = CacheNetwork(stack, "Network", vpc=vpc)
    assert [subnet.subnet_id for subnet in network.function_subnets] == ["subnet-1", "subnet-2"]
    assert not [child for child in network.node.find_all() if isinstance(child, ec2.CfnSubnet | ec2.CfnVPCEndpoint)]


def test_an_existing_vpc_without_a_way_out_is_refused(stack: cdk.Stack) -> None:
    vpc = ec2.Vpc.from_vpc_attributes(
        stack,
        "Theirs",
        vpc_id="vpc-1",
        availability_zones=["a"],
        isolated_subnet_ids=["subnet-1"],
        isolated_subnet_route_table_ids=["rtb-1"],
    )
    with pytest.raises(ConstructError, match=r"no private subnet with a way out.*use topology public-valkey"):
        CacheNetwork(stack, "Network", vpc=vpc)
