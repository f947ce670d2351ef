"""Where a function runs, and whether it can reach from there what the cache needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import aws_cdk as cdk
import jsii
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda as lambda_

from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HTTPS = 443


@dataclass(frozen=True)
class Place:
    """The subnets of a function that are known here, their VPC, and the ids of those that are not."""

    vpc: ec2.IVpc | None
    subnets: tuple[ec2.ISubnet, ...]
    unknown: tuple[str, ...]
    without_way_out: bool


def cfn_function(function: lambda_.Function) -> lambda_.CfnFunction:
    """Return the resource of a function that was made in this app."""
    resource = function.node.default_child
    if not isinstance(resource, lambda_.CfnFunction):  # check_attachable has seen to it.
        raise TypeError(function.node.path)
    return resource


def properties_of(function: lambda_.Function) -> dict[str, Any]:
    """Return the properties as they will be written, unresolved.

    Through the kernel: Python's own view of the environment and of the VPC is empty where CDK makes them lazily.
    """
    found: dict[str, Any] = jsii.get(cfn_function(function), "cfnProperties")
    return found


def variables_of(function: lambda_.Function) -> dict[str, Any]:
    """Return the environment that the function has so far, resolved."""
    resolved: dict[str, Any] = cdk.Stack.of(function).resolve(properties_of(function).get("environment")) or {}
    return dict(resolved.get("variables") or {})


def place_of(function: lambda_.Function, network: ec2.IVpc | None = None) -> Place:
    """Find the function's subnets among those of `network`, or else among those of all VPCs of the app."""
    config = properties_of(function).get("vpcConfig") or {}
    wanted: list[str] = config.get("subnetIds") or []
    for vpc in [network] if network else _vpcs(function):
        # By id and not by what it resolves to: two stacks may each have a subnet of the same logical id.
        known = {subnet.subnet_id: subnet for subnet in _subnets(vpc)}
        if not set(known).isdisjoint(wanted):
            # Lambda gives its network interfaces no public address, so a public subnet is none with a way out.
            private = {subnet.subnet_id for subnet in vpc.private_subnets}
            return Place(
                vpc,
                tuple(known[name] for name in wanted if name in known),
                tuple(name for name in wanted if name not in known),
                any(name in known and name not in private for name in wanted),
            )
    return Place(None, (), tuple(wanted), without_way_out=False)


def said_of_subnets(function: lambda_.Function, ids: Sequence[str]) -> str:
    """Return what an error calls subnets: their VPC, if it is of this app, or else their ids."""
    for vpc in _vpcs(function):
        if not {subnet.subnet_id for subnet in _subnets(vpc)}.isdisjoint(ids):
            return f"in {vpc.node.path}"
    return f"subnets {', '.join(str(cdk.Stack.of(function).resolve(one)) for one in ids)}"


def has_endpoint(vpc: ec2.IVpc, service: str) -> bool:
    """Tell whether an endpoint of this app in that VPC leads to the service, such as `dynamodb` or `sqs`."""
    return any(
        isinstance(found, ec2.CfnVPCEndpoint)
        and found.vpc_id == vpc.vpc_id
        and f".{service}'" in f"{cdk.Stack.of(found).resolve(found.service_name)}'"
        for found in vpc.node.root.node.find_all()
    )


def zones_of(subnets: Sequence[ec2.ISubnet]) -> set[str] | None:
    """Return the subnets' availability zones; None when they were imported without saying."""
    try:
        return {str(cdk.Stack.of(subnet).resolve(subnet.availability_zone)) for subnet in subnets}
    except RuntimeError:  # What jsii makes of CDK's refusal to guess.
        return None


def warn_of_one_zone(function: lambda_.Function, subnets: Sequence[ec2.ISubnet]) -> None:
    """Annotate a function that stops with its only availability zone."""
    zones = zones_of(subnets)
    if subnets and zones is not None and len(zones) == 1:
        cdk.Annotations.of(function).add_warning_v2(
            "stripe-cache:oneZone",
            "all its subnets are in one availability zone, and it stops with that: add a subnet in another",
        )


def open_way_out(function: lambda_.Function, ports: Sequence[int]) -> None:
    """Let a security group of the function call out on these ports where none does, or raise ConstructError.

    What is outside has addresses that change (Stripe, the cache's public endpoint, the APIs of AWS), so the rule names
    ports and no addresses.
    """
    groups = function.connections.security_groups
    if any(group.allow_all_outbound for group in groups):
        return
    for group in groups:
        before = len(group.node.children)
        for port in ports:
            group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), f"stripe-cache of {function.node.id}")
        # An imported group that may not be changed takes the rule without a word.
        if isinstance(group, ec2.SecurityGroup) or len(group.node.children) > before:
            return
    raise ConstructError(
        function,
        f"its security groups ({', '.join(group.node.path for group in groups)}) let nothing out and were imported as "
        "immutable",
        f"let them out on {', '.join(map(str, ports))} and say so with allow_all_outbound=True, or import as mutable",
    )


def _vpcs(function: lambda_.Function) -> Iterator[ec2.IVpc]:
    for found in function.node.root.node.find_all():
        # Imported VPCs are of a class that the library keeps to itself.
        if isinstance(found, ec2.Vpc) or hasattr(found, "isolated_subnets"):
            yield cast("ec2.IVpc", found)


def _subnets(vpc: ec2.IVpc) -> list[ec2.ISubnet]:
    return [*vpc.private_subnets, *vpc.isolated_subnets, *vpc.public_subnets]
