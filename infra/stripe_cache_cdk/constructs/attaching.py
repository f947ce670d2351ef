"""Give an existing function what the cache needs: a place in the network, permissions, and environment.

All of it works after the function was made, because CDK writes the template last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from stripe_cache_cdk.constructs.nag import acknowledge_finding
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from stripe_cache_cdk.constructs.invalidation_queue import InvalidationQueue
    from stripe_cache_cdk.constructs.redis_tier import RedisTier

OLDEST_PYTHON = 11
VPC_POLICY = "service-role/AWSLambdaVPCAccessExecutionRole"


class Attaches(Protocol):
    """A cache that functions can be attached to, and the queue it hands late invalidations to."""

    @property
    def invalidation_queue(self) -> InvalidationQueue:
        """The queue; raises ConstructError when the cache was made without events."""

    def attach(self, function: lambda_.IFunction, *, read_only: bool = False, calls_stripe: bool = True) -> None:
        """Let the function use the cache."""

    def grant_webhook_secret(self, function: lambda_.Function) -> None:
        """Let the function read the webhooks' signing secret, and tell it where that is."""


def check_attachable(function: lambda_.IFunction) -> lambda_.Function:
    """Return the function, or raise ConstructError saying why the runtime could not work in it."""
    if not isinstance(function, lambda_.Function) or not isinstance(function.node.default_child, lambda_.CfnFunction):
        raise ConstructError(
            function,
            "an imported function, a version or an alias has no environment to add to",
            "attach the aws_lambda.Function it comes from, where that is defined",
        )
    name = function.runtime.name
    # What runs in an image only the image knows.
    if name == lambda_.Runtime.FROM_IMAGE.name:
        return function
    if function.runtime.family is not lambda_.RuntimeFamily.PYTHON or _minor(name) < OLDEST_PYTHON:
        raise ConstructError(
            function,
            f"its runtime is {name}, and stripe-cache needs Python 3.{OLDEST_PYTHON}",
            "use Runtime.PYTHON_3_13",
        )
    return function


def place(function: lambda_.Function, tier: RedisTier, *, calls_stripe: bool) -> None:
    """Put the function where it reaches a cache in a VPC, or raise ConstructError when it cannot from where it is."""
    network = tier.network
    if network is None:
        return
    resource = function.node.default_child
    if not isinstance(resource, lambda_.CfnFunction):  # check_attachable has seen to it.
        raise TypeError(function.node.path)
    if function.is_bound_to_vpc:
        _check_where(function, resource, tier, calls_stripe=calls_stripe)
        tier.allow_from(function)
        return
    if function.role is None:
        raise ConstructError(function, "it has no role to allow network interfaces", "give it a role of this app")
    resource.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
        subnet_ids=[subnet.subnet_id for subnet in network.function_subnets],
        security_group_ids=[tier.client_group.security_group_id],
    )
    function.role.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name(VPC_POLICY))
    acknowledge_finding(
        function.role,
        f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{VPC_POLICY}]",
        "Network interfaces cannot be named before they exist; this is AWS's own list of what Lambda needs for them.",
    )


def _check_where(
    function: lambda_.Function, resource: lambda_.CfnFunction, tier: RedisTier, *, calls_stripe: bool
) -> None:
    network = tier.network
    if network is None:
        return
    stack = cdk.Stack.of(function)
    rendered: Any = stack.resolve(resource.vpc_config)
    placed = rendered.get("subnetIds") or rendered.get("SubnetIds") or []
    vpc = network.vpc
    with_way_out = [stack.resolve(subnet.subnet_id) for subnet in vpc.private_subnets]
    without = [stack.resolve(subnet.subnet_id) for subnet in (*vpc.isolated_subnets, *vpc.public_subnets)]
    foreign = [subnet for subnet in placed if subnet not in with_way_out + without]
    if foreign:
        raise ConstructError(
            function,
            f"it is in another VPC than the cache at {tier.node.path} (subnets {foreign})",
            "put it into cache.network.vpc, leave its vpc out (attach() places it), or use topology public-valkey",
        )
    if calls_stripe and any(subnet in without for subnet in placed):
        raise ConstructError(
            function,
            "it is in subnets from which Lambda cannot reach Stripe",
            "put it into private subnets with a NAT, or attach it with calls_stripe=False if it only voids",
        )


def _minor(runtime: str) -> int:
    minor = runtime.partition(".")[2]
    return int(minor) if minor.isdigit() else 0
