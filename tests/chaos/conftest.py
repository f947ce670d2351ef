"""Servers of this folder's own: the others' would not outlive what is done to them here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from local.chaos.world import Servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEED = 7


@pytest.fixture(scope="package")
def servers() -> Iterator[Servers]:
    with Servers(SEED) as made:
        yield made


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[object], None]:
    """Print a line although the test passes: the numbers are part of the result."""

    def write(line: object) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}")

    return write
