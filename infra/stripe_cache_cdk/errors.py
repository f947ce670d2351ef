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

    def __init__(self, construct: IConstruct, problem: str, remedy: str) -> None:
        super().__init__(f"{construct.node.path}: {problem}: {remedy}")
        self.path = construct.node.path
        self.problem = problem
        self.remedy = remedy


@contextmanager
def naming(construct: IConstruct) -> Iterator[None]:
    """Turn a StageError raised inside into a ConstructError: a prop was checked, and the path says whose."""
    try:
        yield
    except StageError as error:
        problem, _, remedy = str(error).rpartition(": ")
        raise ConstructError(construct, problem, remedy) from error


def check_has(construct: IConstruct, attribute: str, remedy: str, **props: object) -> None:
    """Raise ConstructError for a prop that is given and is not what it should be: text where a construct belongs."""
    for name, value in props.items():
        if value is not None and not hasattr(value, attribute):
            raise ConstructError(construct, f"{name}={value!r} is a {type(value).__name__}", f"pass {remedy}")
