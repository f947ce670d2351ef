"""Keeps the garbage collector away from what lives as long as the tests do.

What collecting the tests makes, some thousand of them and every module they import, is never garbage. Looking through
it, over and over as it grew and again at every full collection since, was a third of the work of collecting and a part
of that of every test. Wire it in with `pytest_plugins = ["heap"]` in tests/conftest.py.
"""

from __future__ import annotations

import gc


def pytest_sessionstart() -> None:
    """Let the tests be collected without a look for garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Set aside what was made; from here on garbage is looked for among what the tests make."""
    gc.freeze()
    gc.enable()
