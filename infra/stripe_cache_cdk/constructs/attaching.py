"""Give an existing function what the cache needs: a place in the network, permissions, and environment.

All of it works after the function was made, because CDK writes the template last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from stripe_cache_cdk.constructs import environment as env
from stripe_cache_cdk.constructs.nag import acknowledge_finding
from stripe_cache_cdk.constructs.placement import (
    HTTPS,
    Place,
    cfn_function,
    has_endpoint,
    open_way_out,
    place_of,
    variables_of,
    warn_of_one_zone,
)
from stripe_cache_cdk.constructs.redis_tier import PORT, READER_PORT
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from constructs import Construct

    from stripe_cache_cdk.constructs.invalidation_queue import InvalidationQueue
    from stripe_cache_cdk.constructs.monitoring.watch_list import WatchList
    from stripe_cache_cdk.constructs.redis_tier import RedisTier
    from stripe_cache_cdk.constructs.refresh_queue import RefreshQueue
    from stripe_cache_cdk.runtime_options import RuntimeOptions

OLDEST_PYTHON = 11
VPC_POLICY = "service-role/AWSLambdaVPCAccessExecutionRole"
ATTACHED = "stripe-cache:attached"  # The type of the note on a function that says to which cache.


class Attaches(Protocol):
    """A cache that functions can be attached to, and the queue it hands late invalidations to."""

    @property
    def invalidation_queue(self) -> InvalidationQueue:
        """The queue; raises ConstructError when the cache was made without events."""

    @property
    def watched(self) -> WatchList:
        """What monitoring looks after: parts made for the cache add themselves."""

    @property
    def refresh_queue(self) -> RefreshQueue:
        """Where refreshes are asked for; raises ConstructError when the cache was made without."""

    @property
    def refreshes_hot(self) -> bool:
        """Whether who applies events asks for refreshes of what is read often."""

    def attach(
        self,
        function: lambda_.IFunction,
        *,
        read_only: bool = False,
        calls_stripe: bool = True,
        settings: RuntimeOptions | None = None,
        asks_refreshes: bool = True,
        replays: bool = False,
    ) -> None:
        """Let the function use the cache."""

    def grant_webhook_secret(self, function: lambda_.Function) -> None:
        """Let the function read the webhooks' signing secret, and tell it where that is."""


def check_attachable(function: lambda_.IFunction, cache: Construct) -> lambda_.Function:
    """Return the function, or raise ConstructError saying why the runtime could not work in it."""
    if not isinstance(function, lambda_.Function) or not isinstance(function.node.default_child, lambda_.CfnFunction):
        raise ConstructError(
            function,
            "an imported function, a version or an alias has no environment to add to",
            "attach the aws_lambda.Function it comes from, where that is defined",
        )
    name = function.runtime.name
    # What runs in an image only the image knows. The processor does not matter: the function brings its own package.
    if name != lambda_.Runtime.FROM_IMAGE.name and (
        function.runtime.family is not lambda_.RuntimeFamily.PYTHON or _minor(name) < OLDEST_PYTHON
    ):
        raise ConstructError(
            function,
            f"its runtime is {name}, and stripe-cache needs Python 3.{OLDEST_PYTHON}",
            "use Runtime.PYTHON_3_13",
        )
    _check_neighbour(function, cache)
    for note in function.node.metadata:
        if note.type == ATTACHED:
            theirs = "this cache already" if note.data == cache.node.path else f"the cache at {note.data}"
            raise ConstructError(
                function, f"it is attached to {theirs}", "attach each function once, and to one cache only"
            )
    return function


def set_variables(function: lambda_.Function, variables: dict[str, str]) -> None:
    """Add to the function's environment, or raise ConstructError when it says otherwise already.

    How long its resolver waits is added, too, unless the function says so itself: that concerns all it connects to.
    """
    stack, present = cdk.Stack.of(function), variables_of(function)
    for name, value in variables.items():
        if name in present and present[name] != stack.resolve(value):
            raise ConstructError(
                function,
                f"its environment has another {name} already ({present[name]!r})",
                "leave it out where the function is made: attaching sets it, and takes settings= for what may differ",
            )
    patience = {} if env.RESOLVER in present else {env.RESOLVER: env.RESOLVER_GIVES_UP}
    for name, value in (variables | patience).items():
        function.add_environment(name, value)


def warn_of_fixed_role(function: lambda_.Function) -> None:
    """Annotate a function whose role was imported as immutable, once it was granted something: that was in vain."""
    role = function.role
    if role and not isinstance(role, iam.Role) and not any(isinstance(part, iam.Policy) for part in role.node.children):
        cdk.Annotations.of(function).add_warning_v2(
            "stripe-cache:fixedRole",
            "its role was imported as immutable, so attaching gives it no permissions: import it with mutable=True, or "
            "grant the same where the role is made",
        )


def place(function: lambda_.Function, tier: RedisTier | None, *, calls_stripe: bool) -> None:
    """Put the function where it reaches everything, or raise ConstructError when it cannot from where it is."""
    network = tier.network if tier else None
    if not function.is_bound_to_vpc:
        if tier and network:
            _move_in(function, tier)
        return
    where = place_of(function, network.vpc if network else None)
    ports = [HTTPS]
    if tier and network:
        if where.unknown:
            raise ConstructError(
                function,
                f"it is in another VPC than the cache at {tier.node.path} (subnets {list(where.unknown)})",
                "put it into cache.network.vpc, leave its vpc out (attach() places it), or use topology public-valkey",
            )
    elif tier:
        ports += [PORT, READER_PORT]
    _check_way_out(function, where, calls_stripe=calls_stripe, public_cache=tier is not None and network is None)
    warn_of_one_zone(function, where.subnets)
    open_way_out(function, ports)
    if tier:
        tier.allow_from(function)


def _move_in(function: lambda_.Function, tier: RedisTier) -> None:
    network = tier.network
    if network is None:
        return
    if function.role is None:
        raise ConstructError(function, "it has no role to allow network interfaces", "give it a role of this app")
    cfn_function(function).vpc_config = lambda_.CfnFunction.VpcConfigProperty(
        subnet_ids=[subnet.subnet_id for subnet in network.function_subnets],
        security_group_ids=[tier.client_group.security_group_id],
    )
    function.role.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name(VPC_POLICY))
    acknowledge_finding(
        function.role,
        f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{VPC_POLICY}]",
        "Network interfaces cannot be named before they exist; this is AWS's own list of what Lambda needs for them.",
    )


def _check_way_out(function: lambda_.Function, where: Place, *, calls_stripe: bool, public_cache: bool) -> None:
    notes = cdk.Annotations.of(function)
    if where.unknown:
        notes.add_warning_v2(
            "stripe-cache:unknownSubnets",
            f"nothing in this app says where its subnets {', '.join(where.unknown)} lead: they must route to a NAT",
        )
    if where.vpc is None or not where.without_way_out:
        return
    no_table = not has_endpoint(where.vpc, "dynamodb")
    beyond = [*(["Stripe"] if calls_stripe else []), *(["the cache's public endpoint"] if public_cache else [])]
    if beyond:
        also = ", and there is no gateway endpoint for DynamoDB either" if no_table else ""
        hint = "" if public_cache else ", or attach it with calls_stripe=False if it only voids"
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
        notes.add_warning_v2("stripe-cache:noGatewayEndpoint", f"{problem}: make sure that there is one")
    if not has_endpoint(where.vpc, "sqs"):
        notes.add_warning_v2(
            "stripe-cache:noQueueEndpoint",
            "it is in subnets without a way out and without an endpoint for SQS: what it cannot void at once, it "
            "cannot queue either. Add an interface endpoint, or a NAT",
        )


def _check_neighbour(function: lambda_.Function, cache: Construct) -> None:
    theirs, ours = cdk.Stack.of(function), cdk.Stack.of(cache)
    for what, apart in (
        ("app", function.node.root is not cache.node.root),
        ("stage of the app", cdk.Stage.of(function) is not cdk.Stage.of(cache)),
    ):
        if apart:
            raise ConstructError(
                function,
                f"it is in another {what} than the cache at {cache.node.path}",
                "attach it where the cache is made: a reference cannot lead from one to the other",
            )
    for what, mine, other in (("account", theirs.account, ours.account), ("region", theirs.region, ours.region)):
        if mine != other:
            raise ConstructError(
                function,
                f"its stack is in {what} {_said(mine)} and the cache at {cache.node.path} in {_said(other)}",
                f"give both stacks the same {what} in env, or make a cache of its own there",
            )


def _said(value: str) -> str:
    return "(none given)" if cdk.Token.is_unresolved(value) else value


def _minor(runtime: str) -> int:
    minor = runtime.partition(".")[2]
    return int(minor) if minor.isdigit() else 0
