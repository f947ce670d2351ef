"""Which app, account and region things are in: hardly anything of AWS reaches across, and CDK refuses without a remedy.

Where it does not refuse, it passes the name of a thing to a region that knows none of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from constructs import Construct

from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from constructs import IConstruct

OF_THE_ACCOUNT = ("network", "vpc", "encryption_key")
"""What must be of the same account even if it was imported. Secrets and the keys that seal entries may be another's,
who shares them by a policy: the functions ask for them by ARN."""


def check_place(user: IConstruct, name: str, thing: Any) -> None:
    """Raise ConstructError when the thing is in another region than its user, or in another account that it needs.

    What is known at deployment only is not compared.
    """
    here = cdk.Stack.of(user)
    made_here = isinstance(thing, Construct)
    there = cdk.Stack.of(thing) if made_here else thing.env
    if there is here:
        return
    places = {"region": (there.region, here.region)}
    if made_here or name in OF_THE_ACCOUNT:
        places["account"] = (there.account, here.account)
    for what, (theirs, ours) in places.items():
        if theirs != ours and not cdk.Token.is_unresolved(theirs) and not cdk.Token.is_unresolved(ours):
            raise ConstructError(
                user,
                f"{name}={thing.node.path} is in {what} {theirs}, and this in {ours}",
                f"pass one of the same {what}, or make this in a stack of {theirs}",
            )


def check_neighbour(function: IConstruct, cache: IConstruct) -> None:
    """Raise ConstructError unless both are in one app and stage of it, and in the same account and region.

    Here, what is known at deployment only differs from what is known now: nobody could say that both are the same.
    """
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
