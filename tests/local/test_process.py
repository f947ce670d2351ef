from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.process import LocalServerError, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_program_that_ends_early_is_reported_with_its_output() -> None:
    with pytest.raises(LocalServerError, match=r"exit code 3:\nno such port"):
        ServerProcess("early", [sys.executable, "-c", "print('no such port'); exit(3)"], ready=lambda: False)


def test_a_program_that_is_never_ready_is_stopped_and_reported() -> None:
    ready_asked = []
    with pytest.raises(LocalServerError, match="not ready within"):
        ServerProcess("slow", SLEEPER, ready=lambda: ready_asked.append(1) is not None, start_seconds=0.2)
    assert len(ready_asked) > 1


def test_stop_ends_children_that_the_program_left_behind_and_removes_its_directory(
    process_gone: Callable[[int], bool],
) -> None:
    forks = "import os, time; pid = os.fork(); print(os.getpid() if pid == 0 else '', flush=True); time.sleep(60)"
    process = ServerProcess("forks", [sys.executable, "-c", forks], ready=lambda: True)
    assert wait_until(lambda: process.log().strip().isdigit())
    grandchild = int(process.log())
    process.stop()
    assert wait_until(lambda: process_gone(grandchild))
    assert process_gone(process.pid)
    assert not process.directory.exists()
    process.stop()


def test_a_program_that_ignores_the_request_to_end_is_killed(process_gone: Callable[[int], bool]) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    process = ServerProcess("deaf", [sys.executable, "-c", deaf], ready=lambda: True)
    assert wait_until(lambda: "up" in process.log())
    process.stop(grace_seconds=0.1)
    assert process_gone(process.pid)


def test_a_killed_programs_number_is_not_signalled_again_since_it_may_be_a_strangers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = ServerProcess("killed", SLEEPER, ready=lambda: True)
    process.kill()
    signalled: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _number: signalled.append(group))
    process.kill()
    process.stop()
    assert signalled == []
    assert not process.directory.exists()


OWNER = textwrap.dedent(
    """
    import sys, time
    from local.process import ServerProcess
    process = ServerProcess("owned", [sys.executable, "-c", "import time; time.sleep(60)"], ready=lambda: True)
    {extra}
    print(process.pid, process.directory, flush=True)
    {end}
    """
)


@pytest.mark.parametrize(
    ("extra", "end", "signal_number"),
    [
        ("", "", None),
        ("", "raise SystemExit(1)", None),
        ("", "time.sleep(60)", signal.SIGINT),
        ("", "time.sleep(60)", signal.SIGTERM),
        ("", "time.sleep(60)", signal.SIGKILL),
        ("process.freeze()", "time.sleep(60)", signal.SIGKILL),
    ],
    ids=["end", "exception", "ctrl-c", "terminated", "killed", "killed-with-frozen-child"],
)
def test_no_process_outlives_the_interpreter_that_started_it(
    extra: str, end: str, signal_number: int | None, process_gone: Callable[[int], bool]
) -> None:
    script = OWNER.format(extra=extra, end=end)
    owner = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert owner.stdout is not None
    pid, directory = owner.stdout.readline().decode().split()
    child = int(pid)
    if signal_number is not None:
        owner.send_signal(signal_number)
    owner.wait(10)
    owner.stdout.close()
    assert wait_until(lambda: process_gone(child))
    assert wait_until(lambda: not Path(directory).exists())
