"""What synthesis refuses, each with the place and the remedy.

InfrastructureError
├── StageError        a field of StageConfig, or the stage asked for
└── ConstructError    a prop of a construct, or a function that cannot be attached

Both are raised while the app is synthesized: nothing has been deployed yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from constructs import IConstruct


class InfrastructureError(ValueError):
    """Base of everything below; raised by nothing itself."""


class StageError(InfrastructureError):
    """A stage's configuration cannot work; the message names the field, its value and the remedy."""


class ConstructError(InfrastructureError):
    """A construct cannot be built as asked; the message names its path in the tree, the problem and the remedy."""

    def __init__(self, construct: IConstruct, problem: str, remedy: str) -> None:
        super().__init__(f"{construct.node.path}: {problem}: {remedy}")
        self.path = construct.node.path
        self.problem = problem
        self.remedy = remedy
