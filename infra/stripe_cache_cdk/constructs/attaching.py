"""Give an existing function what the cache needs: a place in the network, permissions, and environment.

All of it works after the function was made, because CDK writes the template last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from stripe_cache_cdk.constructs import environment as env
from stripe_cache_cdk.constructs.bundled_code import check_package
from stripe_cache_cdk.constructs.network_interfaces import allow_interfaces
from stripe_cache_cdk.constructs.placement import (
    HTTPS,
    cfn_function,
    open_way_out,
    place_of,
    said_of_subnets,
    variables_of,
    warn_of_one_zone,
)
from stripe_cache_cdk.constructs.redis_tier import PORT, READER_PORT
from stripe_cache_cdk.constructs.same_place import check_neighbour
from stripe_cache_cdk.constructs.way_out import check_way_out, warn_of_no_route
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from constructs import Construct

    from stripe_cache_cdk.constructs.invalidation_queue import InvalidationQueue
    from stripe_cache_cdk.constructs.monitoring.watch_list import WatchList
    from stripe_cache_cdk.constructs.network import CacheNetwork
    from stripe_cache_cdk.constructs.redis_tier import RedisTier
    from stripe_cache_cdk.constructs.refresh_queue import RefreshQueue
    from stripe_cache_cdk.runtime_options import RuntimeOptions

OLDEST_PYTHON = 11
ATTACHED = "stripe-cache:attached"  # The type of the note on a function that says to which cache.


REFERENCE = (
    "an imported function, a version or an alias has no environment to add to",
    "attach the aws_lambda.Function it comes from, where that is defined",
)
UNATTACHABLE = {
    "SingletonFunction": (
        "a SingletonFunction keeps the function that it makes to itself",
        "make one aws_lambda.Function and pass that to whoever needs it",
    ),
    "EdgeFunction": (
        "Lambda@Edge takes no environment variables and no VPC",
        "attach an aws_lambda.Function, and let CloudFront call that through a function URL or an API",
    ),
}
"""Why what looks like a function cannot be attached, and what to do, by the name of its class."""
MOST_VARIABLES = 4_096  # Bytes of names and values, by Lambda's quota for the environment of a function.
LIKELY_LENGTH = 60  # Bytes of what is known at deployment only: an ARN, an address, the URL of a queue.


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
        kinds = [kind.__name__ for kind in type(function).__mro__]
        raise ConstructError(function, *next((UNATTACHABLE[kind] for kind in kinds if kind in UNATTACHABLE), REFERENCE))
    name = function.runtime.name
    # What runs in an image only the image knows, and what is in a package that Bundle did not make, only who did.
    if name != lambda_.Runtime.FROM_IMAGE.name and (
        function.runtime.family is not lambda_.RuntimeFamily.PYTHON or _minor(name) < OLDEST_PYTHON
    ):
        raise ConstructError(
            function,
            f"its runtime is {name}, and stripe-cache needs Python 3.{OLDEST_PYTHON}",
            "use Runtime.PYTHON_3_13",
        )
    check_package(function)
    check_neighbour(function, cache)
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
    present, added = variables_of(function), cdk.Stack.of(function).resolve(variables)
    for name, value in added.items():
        if name in present and present[name] != value:
            raise ConstructError(
                function,
                f"its environment has another {name} already ({present[name]!r})",
                "leave it out where the function is made: attaching sets it, and takes settings= for what may differ",
            )
    patience = {} if env.RESOLVER in present else {env.RESOLVER: env.RESOLVER_GIVES_UP}
    _check_size(function, present, {**present, **added, **patience})
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


def place(function: lambda_.Function, tier: RedisTier | None, *, calls_stripe: bool, services: Sequence[str]) -> None:
    """Put the function where it reaches everything, or raise ConstructError when it cannot from where it is.

    `services` are those of AWS that it calls beside DynamoDB, as their endpoints are called.
    """
    network = tier.network if tier else None
    beyond = ["Stripe"] if calls_stripe else []
    if not function.is_bound_to_vpc:
        if tier and network:
            _move_in(function, tier, network)
            warn_of_no_route(function, network.vpc, network.function_subnets, beyond)
        return
    where = place_of(function, network.vpc if network else None)
    ports = [HTTPS]
    if tier and network:
        if where.unknown:
            raise ConstructError(
                function,
                f"it is in another VPC than the cache at {tier.node.path} ({said_of_subnets(function, where.unknown)})",
                "put it into cache.network.vpc, leave its vpc out (attach() places it), or use topology public-valkey",
            )
    elif tier:
        ports += [PORT, READER_PORT]
        beyond.append("the cache's public endpoint")
    check_way_out(function, where, beyond=beyond, services=services)
    warn_of_one_zone(function, where.subnets)
    open_way_out(function, ports)
    # CDK allows them to the roles that it makes; one that was passed to the function may lack them.
    allow_interfaces(function)
    if tier:
        tier.allow_from(function)


def _move_in(function: lambda_.Function, tier: RedisTier, network: CacheNetwork) -> None:
    cfn_function(function).vpc_config = lambda_.CfnFunction.VpcConfigProperty(
        subnet_ids=[subnet.subnet_id for subnet in network.function_subnets],
        security_group_ids=[tier.client_group.security_group_id],
    )
    allow_interfaces(function)


def _check_size(function: lambda_.Function, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Raise ConstructError when the environment is certain to be too long, warn when it is likely to be."""
    for unknown in (0, LIKELY_LENGTH):
        size = _size(after, unknown)
        if size <= MOST_VARIABLES:
            continue
        told = f"its environment will hold some {size} bytes, {_size(before, unknown)} of them its own"
        problem = f"{told}, and Lambda takes {MOST_VARIABLES}"
        remedy = "keep long values elsewhere, in Parameter Store or in the package, or split the function"
        if not unknown:
            raise ConstructError(function, problem, remedy)
        cdk.Annotations.of(function).add_warning_v2("stripe-cache:longEnvironment", f"{problem}: {remedy}")


def _size(variables: dict[str, Any], unknown: int) -> int:
    """Return the bytes of names and values; what is known at deployment only counts as `unknown` each."""
    return sum(len(name.encode()) + _length(value, unknown) for name, value in variables.items())


def _length(value: Any, unknown: int) -> int:
    if isinstance(value, str):
        return len(value.encode())
    parts = value.get("Fn::Join") if isinstance(value, dict) else None
    return sum(_length(part, unknown) for part in parts[1]) if parts else unknown


def _minor(runtime: str) -> int:
    minor = runtime.partition(".")[2]
    return int(minor) if minor.isdigit() else 0
