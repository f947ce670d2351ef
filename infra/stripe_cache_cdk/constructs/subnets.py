"""Which subnets of an existing VPC are used: private ones for functions, one of each zone for the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk

from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_cdk import aws_ec2 as ec2
    from constructs import Construct

FEWEST_ZONES = 2
MOST_ZONES = 3  # ElastiCache takes two or three subnets for a serverless cache, no two of them in one zone.
LIST_TOKEN = "#{Token["  # noqa: S105  # The only element of a list whose length is known at deployment.


def for_functions(network: Construct, vpc: ec2.IVpc) -> list[ec2.ISubnet]:
    """Return the private subnets; raises ConstructError, naming the network, without any, or with one zone only."""
    if not vpc.private_subnets:
        raise ConstructError(
            network,
            "the VPC has no private subnet with a way out, and Stripe is reached over the internet",
            "pass a VPC whose private subnets route to a NAT, or use topology public-valkey or dynamodb-only",
        )
    _check_zones(network, "functions", vpc.private_subnets)
    return vpc.private_subnets


def for_cache(network: Construct, vpc: ec2.IVpc) -> list[ec2.ISubnet]:
    """Return an isolated subnet (without such, a private one) of each zone, of three at most.

    Zones that functions are in come first: traffic between zones takes longer, and is paid for. Raises ConstructError,
    naming the network, where there is one zone only, or no telling which subnets share one.
    """
    found = vpc.isolated_subnets or vpc.private_subnets
    _check_zones(network, "the cache", found)
    if None in map(zone_of, found):
        if len(found) <= MOST_ZONES:
            return found
        raise ConstructError(
            network,
            f"the VPC has {len(found)} subnets for the cache, which takes one of each zone, and says no zones",
            "import it with availability_zones as a list of names, or with one isolated subnet for each zone",
        )
    near = {zone_of(subnet) for subnet in vpc.private_subnets}
    first_of_zone: dict[str | None, ec2.ISubnet] = {}
    for subnet in sorted(found, key=lambda subnet: zone_of(subnet) not in near):
        first_of_zone.setdefault(zone_of(subnet), subnet)
    return [*first_of_zone.values()][:MOST_ZONES]


def zone_of(subnet: ec2.ISubnet) -> str | None:
    """Return the subnet's availability zone; None when it was imported without saying."""
    try:
        zone = subnet.availability_zone
    except RuntimeError:  # What jsii makes of CDK's refusal to guess.
        return None
    return None if zone.startswith(LIST_TOKEN) else str(cdk.Stack.of(subnet).resolve(zone))


def _check_zones(network: Construct, purpose: str, subnets: Sequence[ec2.ISubnet]) -> None:
    if any(subnet.subnet_id.startswith(LIST_TOKEN) for subnet in subnets):
        raise ConstructError(
            network,
            f"how many subnets the VPC has for {purpose} is known at deployment only",
            "import it with a list of as many texts, such as [Fn.select(0, ids), Fn.select(1, ids)]",
        )
    zones = {zone_of(subnet) for subnet in subnets}
    if len(subnets) < FEWEST_ZONES or (None not in zones and len(zones) < FEWEST_ZONES):
        raise ConstructError(
            network,
            f"the VPC's subnets for {purpose} lie in one availability zone, and a cache spans two",
            "pass a VPC with private subnets in two zones, or use topology public-valkey or dynamodb-only",
        )
