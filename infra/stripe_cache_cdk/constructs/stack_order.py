"""Which stack is deployed before which: a circle is refused where it closes, and by the names of what closes it.

CDK finds circles when it resolves references, at the very end, and then names neither the function that was attached
nor what to do. Here each reference is announced where it is made; CDK keeps the graph, and everybody else's part of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import aws_cdk as cdk
from constructs import Construct

from stripe_cache_cdk.constructs.same_place import check_place
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from constructs import IConstruct

REASONS = re.compile(r"^DependencyCycle: .* \((.*)\)\. Adding this", re.MULTILINE)


def refers(user: Construct, **things: IConstruct | None) -> None:
    """Say that the user's stack needs those things first, by their names in the error.

    What was imported is there already and is in no stack's way. Raises ConstructError, naming the user, when the stack
    of one of the things needs the user's stack in turn, or is in another region or account.
    """
    here = _deployed_with(user)
    for name, thing in things.items():
        if thing is not None:
            check_place(user, name, thing)
        # An imported thing is an interface without a class: nothing in this app deploys it.
        if not isinstance(thing, Construct):
            continue
        there = _deployed_with(thing)
        if there.node.path == here.node.path:
            continue
        called = f"{name}={thing.node.path}"
        try:
            here.add_stack_dependency(there, f"{user.node.path} needs {called}")
        except RuntimeError as error:
            circle = REASONS.search(str(error))
            if circle is None:
                raise
            raise ConstructError(
                user,
                f"its stack {here.node.path} would need {called}, and stack {there.node.path} needs {here.node.path} "
                f"already ({circle[1]})",
                "put what both need into a stack of its own, or all of them into one stack",
            ) from error


def needs(user: IConstruct, thing: IConstruct) -> bool:
    """Tell whether the user's stack must wait for the thing's, by what was said of them so far."""
    there = _deployed_with(thing).node.path
    waiting, seen = [_deployed_with(user)], set()
    while waiting:
        for stack in waiting.pop().dependencies:
            if stack.node.path == there:
                return True
            if stack.node.path not in seen:
                seen.add(stack.node.path)
                waiting.append(stack)
    return False


def check_one_stack(construct: Construct, remedy: str, **things: IConstruct) -> None:
    """Raise ConstructError unless the things are in the construct's own stack: each of the two names the other.

    Nested stacks count as stacks, since a template of one refers to another's like that of any other.
    """
    here = cdk.Stack.of(construct).node.path
    for name, thing in things.items():
        there = cdk.Stack.of(thing).node.path
        if here != there:
            raise ConstructError(
                construct,
                f"its {name} is in stack {there} and it in {here}, and each names the other",
                f"make it in {there}, where the {name} is{remedy}",
            )


def _deployed_with(construct: IConstruct) -> cdk.Stack:
    stack = cdk.Stack.of(construct)
    while stack.nested_stack_parent is not None:
        stack = stack.nested_stack_parent
    return stack
