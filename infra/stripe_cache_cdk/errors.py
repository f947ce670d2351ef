"""What synthesis refuses, each with the place and the remedy.

InfrastructureError
├── StageError        a field of StageConfig, or the stage asked for
└── ConstructError    a prop of a construct, or a function that cannot be attached

Both are raised while the app is synthesized: nothing has been deployed yet.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from constructs import IConstruct


class InfrastructureError(ValueError):
    """Base of everything below; raised by nothing itself."""


class StageError(InfrastructureError):
    """A stage's configuration cannot work; the message names the field, its value and the remedy."""


class ConstructError(InfrastructureError):
    """A construct cannot be built as asked; the message names its path in the tree, the problem and the remedy."""

    def __init__(self, construct: IConstruct, problem: str, remedy: str, *, inside: str = "") -> None:
        # A construct that is not there yet is named by where it would be: `inside` is its id.
        path = "/".join(part for part in (construct.node.path, inside) if part)
        super().__init__(f"{path}: {problem}: {remedy}")
        self.path = path
        self.problem = problem
        self.remedy = remedy


@contextmanager
def naming(construct: IConstruct, inside: str = "") -> Iterator[None]:
    """Turn a StageError raised inside into a ConstructError: a prop was checked, and the path says whose."""
    try:
        yield
    except StageError as error:
        problem, _, remedy = str(error).rpartition(": ")
        raise ConstructError(construct, problem, remedy, inside=inside) from error
