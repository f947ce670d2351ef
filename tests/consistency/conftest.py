"""What the tests of this folder share: a Valkey per module, because they flush it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from local.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[object], None]:
    """Print a line although the test passes: what was gone through is part of the result."""

    def write(line: object) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}")

    return write


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the searches out of the coverage: tracing each line of some million steps takes longer than the steps."""
    for item in items:
        if item.path.name in {"test_explorer.py", "test_takeover.py", "test_shared_calls.py"}:
            item.add_marker(pytest.mark.no_cover)
