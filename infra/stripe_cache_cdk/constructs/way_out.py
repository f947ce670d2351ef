"""What a function in a VPC cannot reach from its subnets: refused where it is certain, else warned of."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2

from stripe_cache_cdk.constructs.at_synthesis import at_synthesis
from stripe_cache_cdk.constructs.placement import cfn_function, has_endpoint, place_of, said_of_subnets
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_cdk import aws_lambda as lambda_

    from stripe_cache_cdk.constructs.placement import Place

ANYWHERE = "0.0.0.0/0"
LOSSES = {
    "sqs": "what it cannot void at once, it cannot queue either",
    "kms": "it can neither seal an entry nor open one, and the tiers are of no use to it",
    "secretsmanager": "it cannot read its secret",
}
"""What a function loses without an endpoint for the service."""


def check_way_out(function: lambda_.Function, where: Place, *, beyond: Sequence[str], services: Sequence[str]) -> None:
    """Raise ConstructError when what is `beyond` cannot be reached from there, nor DynamoDB; warn of what may not be.

    `beyond` is on the internet; `services` of AWS are, too, but for endpoints in the VPC.
    """
    if where.unknown:
        cdk.Annotations.of(function).add_warning_v2(
            "stripe-cache:unknownSubnets",
            f"nothing in this app says where its {said_of_subnets(function, where.unknown)} lead: they must route to a "
            "NAT",
        )
    if where.vpc is None:
        return
    if not where.without_way_out:
        warn_of_no_route(function, where.vpc, where.subnets, beyond)
        return
    no_table = not has_endpoint(where.vpc, "dynamodb")
    if beyond:
        also = ", and there is no gateway endpoint for DynamoDB either" if no_table else ""
        hint = ", or attach it with calls_stripe=False if it only voids" if beyond == ["Stripe"] else ""
        raise ConstructError(
            function,
            f"it is in subnets from which Lambda cannot reach {' and '.join(beyond)}{also}",
            f"put it into private subnets with a NAT{hint}",
        )
    if no_table:
        problem = "it is in subnets without a way out, and the app has no gateway endpoint for DynamoDB in that VPC"
        if where.vpc.node.default_child is not None:  # An imported VPC has no resource, and may have one all the same.
            raise ConstructError(
                function, problem, "vpc.add_gateway_endpoint(...) with GatewayVpcEndpointAwsService.DYNAMODB"
            )
        cdk.Annotations.of(function).add_warning_v2(
            "stripe-cache:noGatewayEndpoint", f"{problem}: make sure that there is one"
        )
    for service in services:
        _warn_without_endpoint(function, where.vpc, service)


def warn_of_unread_secret(function: lambda_.Function) -> None:
    """Annotate a function that is to read a secret and was put where Secrets Manager cannot be reached from."""
    where = place_of(function) if function.is_bound_to_vpc else None
    if where and where.vpc and where.without_way_out:
        _warn_without_endpoint(function, where.vpc, "secretsmanager")


def warn_of_no_route(
    function: lambda_.Function, vpc: ec2.IVpc, subnets: Sequence[ec2.ISubnet], beyond: Sequence[str]
) -> None:
    """Annotate a function in subnets of this app that are called private with a way out, and have no route to it.

    `PRIVATE_WITH_EGRESS` with no NAT gateway is such a subnet until somebody adds a route, to a transit gateway for
    example: that may be after this, and by somebody else, so it is looked for at synthesis, and no error.
    """
    made_here = [subnet for subnet in subnets if isinstance(subnet, ec2.Subnet)]
    if not made_here or not isinstance(vpc, ec2.Vpc) or _leads_out(made_here[0]):
        return

    def look() -> None:
        needed = [*beyond, *([] if has_endpoint(vpc, "dynamodb") else ["DynamoDB"])]
        if not needed or any(map(_leads_out, made_here)) or _routed(made_here):
            return
        cdk.Annotations.of(function).add_warning_v2(
            "stripe-cache:noRoute",
            f"none of its subnets in {vpc.node.path} has a route to {ANYWHERE} in this app, and it must reach "
            f"{' and '.join(needed)}: give the VPC a NAT (nat_gateways=1 or more), or see that something else routes "
            "them out",
        )

    at_synthesis(cfn_function(function), look)


def _warn_without_endpoint(function: lambda_.Function, vpc: ec2.IVpc, service: str) -> None:
    if not has_endpoint(vpc, service):
        cdk.Annotations.of(function).add_warning_v2(
            f"stripe-cache:noEndpoint:{service}",
            f"it is in subnets without a way out and without an endpoint for {service.upper()}: {LOSSES[service]}. "
            "Add an interface endpoint, or a NAT",
        )


def _leads_out(subnet: ec2.Subnet) -> bool:
    """Tell whether CDK gave the subnet a default route, which it keeps below the subnet."""
    return any(_is_default(child) for child in subnet.node.children)


def _routed(subnets: Sequence[ec2.Subnet]) -> bool:
    """Tell whether a route anywhere in the app leads out from one of them: all of the app is walked for it."""
    tables = {subnet.route_table.route_table_id for subnet in subnets}
    return any(_is_default(found) and found.route_table_id in tables for found in subnets[0].node.root.node.find_all())


def _is_default(found: object) -> TypeGuard[ec2.CfnRoute]:
    return isinstance(found, ec2.CfnRoute) and found.destination_cidr_block == ANYWHERE
