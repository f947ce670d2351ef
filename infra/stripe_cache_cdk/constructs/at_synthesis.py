"""Look at something when all of the app is there: what is missing while a construct is made may come after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import jsii

if TYPE_CHECKING:
    from collections.abc import Callable

    from constructs import IConstruct


def at_synthesis(resource: cdk.CfnResource, look: Callable[[], None]) -> None:
    """Have `look` called once when the app is synthesized; it may annotate, and add nothing.

    A resource has nothing below it, so CDK calls back once and not for every construct of a tree.
    """
    cdk.Aspects.of(resource).add(_Look(look), priority=cdk.AspectPriority.READONLY)


@jsii.implements(cdk.IAspect)
class _Look:
    """The function behind the interface that CDK calls."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    def visit(self, _: IConstruct, *_args: Any) -> None:
        """Look."""
        self._look()
