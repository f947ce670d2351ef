from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from local.lambda_rie import FunctionError, LambdaRuntime

if TYPE_CHECKING:
    from pathlib import Path

HANDLER = """
import os, time

calls = 0

def handler(event, context):
    global calls
    calls += 1
    if event.get("raise"):
        raise ValueError("as asked")
    if event.get("hang"):
        time.sleep(60)
    print("said", event)
    return {
        "calls": calls,
        "table": os.environ.get("STRIPE_CACHE_TABLE"),
        "home": os.environ.get("STRIPE_CACHE_STRAY"),
        "memory": context.memory_limit_in_mb,
    }
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(HANDLER)
    return tmp_path


def test_a_sandbox_keeps_its_globals_and_gets_the_functions_environment(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_CACHE_STRAY", "of this process")
    with LambdaRuntime(code, "app.handler", {"STRIPE_CACHE_TABLE": "t"}, memory_mb=256) as function:
        first, second = function.invoke({}), function.invoke({"n": 2})
        assert first == {"calls": 1, "table": "t", "home": None, "memory": "256"}
        assert second["calls"] == 2
        assert "said {'n': 2}" in function.output()


def test_what_the_handler_raises_is_raised_here(code: Path) -> None:
    with LambdaRuntime(code, "app.handler") as function:
        with pytest.raises(FunctionError, match="ValueError: as asked"):
            function.invoke({"raise": True})
        assert function.invoke({})["calls"] == 2


def test_a_handler_that_takes_too_long_is_ended(code: Path) -> None:
    with (
        LambdaRuntime(code, "app.handler", timeout_seconds=1) as function,
        pytest.raises(FunctionError, match="timed out after 1"),
    ):
        function.invoke({"hang": True})


def test_threads_wait_for_each_other(code: Path) -> None:
    with LambdaRuntime(code, "app.handler") as function:
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(function.invoke({})["calls"])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == list(range(1, 9))


def test_a_handler_that_is_not_there_is_said(code: Path) -> None:
    with LambdaRuntime(code, "nothing.handler") as function, pytest.raises(FunctionError, match="nothing"):
        function.invoke({})
