"""A server as a child process: started, waited for, frozen, stopped, and never left behind."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Self

from local.reaper import REAPER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POLL_SECONDS = 0.01
LOG_TAIL_BYTES = 4000


class LocalServerError(Exception):
    """A local server did not start, or ended; the message carries the end of its log."""


class ServerProcess:
    """One child process in its own process group, with a private directory and a log file in it; thread-safe to stop.

    Its end is assured three ways: `stop`, the interpreter's exit, and the reaper when the interpreter was killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        ready: Callable[[], bool],
        start_seconds: float = 30.0,
        directory: Path | None = None,
    ) -> None:
        self.name = name
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"stripe-cache-{name}-"))
        self.log_path = self.directory / "log.txt"
        self._lock = threading.Lock()
        self._stopped = False
        # From then on the number may be a stranger's: tests that kill thousands of servers see them come round again.
        self._group_ended = False
        with self.log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,
            )
        REAPER.watch(self._popen.pid)
        REAPER.remove(self.directory)
        _LIVE.add(self)
        try:
            self._wait_until(ready, start_seconds)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The process id, which is also its process group's."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs (frozen counts as running)."""
        return self._popen.poll() is None

    def log(self) -> str:
        """Return the last few kilobytes that the process printed."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")

    def freeze(self) -> None:
        """Stop the process without ending it: connections stay open and nothing answers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the process as a power cut would; `stop` must still be called."""
        with self._lock:
            if not self._group_ended:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                self._popen.wait()
                self._group_ended = True
                REAPER.forget(self.pid)

    def stop(self, *, grace_seconds: float = 3.0) -> None:
        """Ask the process group to end, insist after `grace_seconds`, and remove its directory; any number of times."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            _LIVE.discard(self)
            if not self._group_ended:
                self._end_group(grace_seconds)
            REAPER.forget(self.pid)
            shutil.rmtree(self.directory, ignore_errors=True)

    def _end_group(self, grace_seconds: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
            os.killpg(self.pid, signal.SIGCONT)
        try:
            self._popen.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # The group outlives its leader when the leader left children behind.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()
            self._group_ended = True

    def _wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if self._popen.poll() is not None:
                raise LocalServerError(f"{self.name} ended with exit code {self._popen.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise LocalServerError(f"{self.name} was not ready within {seconds} s:\n{self.log()}")
            time.sleep(POLL_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


_LIVE: weakref.WeakSet[ServerProcess] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    for process in list(_LIVE):
        process.stop(grace_seconds=1.0)
