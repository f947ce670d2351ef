"""A network in a VPC that was there before: which of its subnets are used, and what is refused."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from synthesis import make_app, render, resources

from stripe_cache_cdk import CacheNetwork, ConstructError


def theirs(
    stack: cdk.Stack, azs: tuple[str, ...] = ("a", "b"), cidr: str | None = None, **subnets: list[str]
) -> ec2.IVpc:
    return ec2.Vpc.from_vpc_attributes(
        stack, "Theirs", vpc_id="vpc-00000001", vpc_cidr_block=cidr, availability_zones=list(azs), **subnets
    )


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


def test_gateway_endpoints_are_added_to_an_existing_vpc_when_asked_for(stack: cdk.Stack) -> None:
    tables = ["rtb-00000001", "rtb-00000002"]
    subnets = ["subnet-00000001", "subnet-00000002"]
    vpc = theirs(stack, private_subnet_ids=subnets, private_subnet_route_table_ids=tables, cidr="10.0.0.0/16")
    CacheNetwork(stack, "Network", vpc=vpc, gateway_endpoints=True, interface_endpoints=["sqs"])
    endpoints = resources(render(stack), "AWS::EC2::VPCEndpoint")
    assert [found["Properties"].get("RouteTableIds") for found in endpoints.values()] == [tables, tables, None]
    assert all(found["Properties"]["VpcId"] == "vpc-00000001" for found in endpoints.values())
    assert all(name.startswith("Network") for name in endpoints)


@pytest.mark.parametrize(
    ("props", "remedy"),
    [
        ({"gateway_endpoints": True}, "import it with private_subnet_route_table_ids, or leave gateway_endpoints out"),
        ({"interface_endpoints": ["sqs"]}, "import it with vpc_cidr_block, or leave interface_endpoints out"),
    ],
)
def test_an_existing_vpc_that_says_too_little_for_endpoints_is_refused(
    stack: cdk.Stack, props: dict[str, Any], remedy: str
) -> None:
    vpc = theirs(stack, private_subnet_ids=["s-1", "s-2"])
    with pytest.raises(ConstructError, match=rf"^Test/Network: the VPC cannot take the endpoints .*: {remedy}$"):
        CacheNetwork(stack, "Network", vpc=vpc, **props)


def test_what_would_change_an_existing_vpc_is_refused(stack: cdk.Stack) -> None:
    vpc = theirs(stack, private_subnet_ids=["s-1", "s-2"])
    with pytest.raises(ConstructError, match=r"^Test/Network: cidr, azs with vpc: .*: pass one or the other"):
        CacheNetwork(stack, "Network", vpc=vpc, cidr="10.0.0.0/16", azs=3)


@pytest.mark.parametrize(
    ("azs", "subnets"),
    [
        (("a",), {"private_subnet_ids": ["s-1"]}),
        (("a",), {"private_subnet_ids": ["s-1", "s-2"]}),
        (("a", "a"), {"private_subnet_ids": ["s-1", "s-2"]}),
    ],
)
def test_an_existing_vpc_in_one_zone_is_refused(
    stack: cdk.Stack, azs: tuple[str, ...], subnets: dict[str, list[str]]
) -> None:
    vpc = theirs(stack, azs, **subnets)
    with pytest.raises(ConstructError, match=r"^Test/Network: .* lie in one availability zone.*: pass a VPC with"):
        CacheNetwork(stack, "Network", vpc=vpc)


SIX = tuple("abcdef")


@pytest.mark.parametrize(
    ("azs", "subnets", "chosen"),
    [
        # Two groups of isolated subnets: ElastiCache takes one subnet of each zone.
        (("a", "b"), {"isolated_subnet_ids": ["i-1", "i-2", "i-3", "i-4"], "names": ["One", "Two"]}, ["i-1", "i-2"]),
        (SIX, {"isolated_subnet_ids": [f"i-{n}" for n in range(12)], "names": ["One", "Two"]}, ["i-0", "i-1", "i-2"]),
        (SIX, {}, ["p-0", "p-1", "p-2"]),
    ],
)
def test_the_cache_gets_one_subnet_of_each_zone_and_of_three_at_most(
    stack: cdk.Stack, azs: tuple[str, ...], subnets: dict[str, list[str]], chosen: list[str]
) -> None:
    names = {"isolated_subnet_names": subnets.pop("names")} if subnets else {}
    private = [f"p-{number}" for number in range(len(azs))]
    network = CacheNetwork(stack, "Network", vpc=theirs(stack, azs, private_subnet_ids=private, **subnets, **names))
    assert [subnet.subnet_id for subnet in network.cache_subnets] == chosen
    assert [subnet.subnet_id for subnet in network.function_subnets] == private


def test_the_cache_is_where_functions_are_if_it_can_be() -> None:
    """Traffic between zones is slower, and paid for."""
    groups = [("Private", "cd"), ("Isolated", "abcd")]
    looked_up = {
        "vpcId": "vpc-1",
        "availabilityZones": [],
        "subnetGroups": [
            {
                "name": kind,
                "type": kind,
                "subnets": [
                    {"subnetId": f"{kind}-{zone}", "availabilityZone": zone, "routeTableId": "rtb-1"} for zone in zones
                ],
            }
            for kind, zones in groups
        ],
    }
    place = "account=123456789012:filter.vpc-id=vpc-1:region=eu-west-1"
    app = make_app(**{f"vpc-provider:{place}:returnAsymmetricSubnets=true": looked_up})
    stack = cdk.Stack(app, "Test", env=cdk.Environment(account="123456789012", region="eu-west-1"))
    network = CacheNetwork(stack, "Network", vpc=ec2.Vpc.from_lookup(stack, "Theirs", vpc_id="vpc-1"))
    assert [subnet.subnet_id for subnet in network.cache_subnets] == ["Isolated-c", "Isolated-d", "Isolated-a"]


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        (
            {
                "private_subnet_ids": cdk.Fn.split(",", cdk.Fn.import_value("ids")),
                "availability_zones": cdk.Fn.get_azs(),
            },
            r"how many subnets .* for functions is known at deployment only: import it with a list of as many texts",
        ),
        (
            {"private_subnet_ids": list("pqrs"), "availability_zones": cdk.Fn.get_azs()},
            r"4 subnets for the cache, .* says no zones: import it with availability_zones as a list",
        ),
    ],
)
def test_what_only_the_deployment_knows_is_not_guessed(stack: cdk.Stack, attributes: dict[str, Any], told: str) -> None:
    vpc = ec2.Vpc.from_vpc_attributes(stack, "Theirs", vpc_id="vpc-1", **attributes)
    with pytest.raises(ConstructError, match=rf"^Test/Network: .*{told}"):
        CacheNetwork(stack, "Network", vpc=vpc)


def test_three_subnets_are_taken_without_their_zones(stack: cdk.Stack) -> None:
    ids = cdk.Fn.split(",", cdk.Fn.import_value("subnets"))
    subnets = [cdk.Fn.select(number, ids) for number in range(3)]
    vpc = ec2.Vpc.from_vpc_attributes(
        stack, "Theirs", vpc_id="vpc-1", availability_zones=cdk.Fn.get_azs(), private_subnet_ids=subnets
    )
    assert len(CacheNetwork(stack, "Network", vpc=vpc).cache_subnets) == 3
