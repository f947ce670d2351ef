"""The order in which files of tests are handed to the processes that run them: those that take longest come first.

A file that takes a minute, handed out last, keeps one process busy while the others have nothing left to do. Wire it
in with `pytest_plugins = ["longest_first"]` in tests/conftest.py, and run with `--no-loadscope-reorder`: pytest-xdist
would order the files by how many tests they have.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

LONGEST = (
    "infra/test_deploy.py",
    "local/test_demo.py",
    "infra/test_safety.py",
    "chaos/test_faults.py",
    "infra/test_synthesis.py",
    "consistency/test_explorer.py",
    "voiding/test_no_old_answer.py",
    "consistency/test_storm.py",
    "tiers/test_redis_cluster_away.py",
    "infra/test_reuse.py",
    "consistency/test_state_machine.py",
    "infra/test_attaching.py",
    "chaos/test_dead_tiers.py",
    "infra/test_github_roles.py",
    "infra/test_wheels.py",
    "handlers/test_emitted_metrics.py",
    "test_one_call_for_all.py",
    "tiers/test_aws_deadline.py",
    "tiers/test_strange_aws_answers.py",
    "infra/test_bundling.py",
)
"""Files that take more than ten seconds, about in their order: `pytest --durations=0` tells."""

_TESTS = Path(__file__).parent
_PLACES = {_TESTS / name: place - len(LONGEST) for place, name in enumerate(LONGEST)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and the others by how many tests they have."""
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (_PLACES.get(item.path, 0), -sizes[item.path], item.path))
