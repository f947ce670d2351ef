"""Lambda-shaped workers: processes that run one invocation at a time and are frozen in between.

What a cache meets in Lambda and nowhere else happens here too: no thread runs between invocations, sockets go stale
while frozen, a sandbox is ended in the middle of a call, and each new one starts cold.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from local.reaper import REAPER
from local.worker_main import receive, send

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = Path(__file__).with_name("worker_main.py")
START_SECONDS = 30.0
# The handler sees what the caller passes and what Python needs: no credentials or settings of the user.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")


@dataclass(frozen=True)
class Result:
    """How one invocation ended; `error` is None or a sentence, `duration_ms` is the handler's own time.

    `began_at` is the wall clock when the handler was called, 0 if it never answered.
    """

    payload: Any
    duration_ms: float
    error: str | None
    cold: bool
    began_at: float = 0.0


class WorkerDiedError(Exception):
    """The process ended, or was ended, before it answered."""


class Worker:
    """One sandbox: a child process with the handler imported; frozen unless it works on something."""

    def __init__(self, handler: str, env: Mapping[str, str], output: Path, *, freeze: bool = True) -> None:
        self._freeze = freeze
        self.cold = True
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry)
        ours, theirs = socket.socketpair()
        with output.open("ab") as log, theirs:
            # -P: the directory of the program holds modules that would hide the handler's own, such as `valkey`.
            self._popen = subprocess.Popen(
                [sys.executable, "-P", str(PROGRAM), str(theirs.fileno()), handler],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**inherited, "PYTHONPATH": path, "AWS_LAMBDA_FUNCTION_NAME": "local", **env},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        REAPER.watch(self._popen.pid)
        self._connection = ours
        try:
            self.init_ms = self._started(handler)
        except BaseException:
            self.close()
            raise
        self._signal(signal.SIGSTOP)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether the process still exists."""
        return self._popen.poll() is None

    def invoke(self, event: Any, timeout: float) -> Result:
        """Thaw, run the handler once, freeze; after `timeout` seconds the sandbox is ended, as Lambda does."""
        cold, self.cold = self.cold, False
        begun = time.perf_counter()
        self._signal(signal.SIGCONT)
        try:
            self._connection.settimeout(timeout)
            request = {"id": str(uuid.uuid4()), "function": "local", "seconds": timeout, "event": event}
            send(self._connection, request)
            answer = self._receive()
        except TimeoutError:
            self.kill()
            return Result(None, timeout * 1000, f"Task timed out after {timeout:.2f} seconds", cold)
        except (OSError, WorkerDiedError):
            self.kill()
            elapsed = (time.perf_counter() - begun) * 1000
            return Result(None, elapsed, "Runtime exited before it answered", cold)
        self._signal(signal.SIGSTOP)
        return Result(answer.get("payload"), answer["ms"], answer.get("error"), cold, answer["at"])

    def kill(self) -> None:
        """End the process at once, in the middle of whatever it does; any number of times, from any thread."""
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        REAPER.forget(self._popen.pid)
        # Not close(): another thread may be waiting in recv() and must see the end of the stream.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the process and free the socket; nothing may be running."""
        self.kill()
        self._connection.close()

    def _started(self, handler: str) -> float:
        self._connection.settimeout(START_SECONDS)
        message = self._receive()
        if "error" in message:
            raise WorkerDiedError(f"{handler} could not be imported: {message['error']}")
        took: float = message["ready_ms"]
        return took

    def _receive(self) -> dict[str, Any]:
        message = receive(self._connection)
        if message is None:
            raise WorkerDiedError("the worker's process ended")
        return message

    def _signal(self, number: signal.Signals) -> None:
        if self._freeze:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, number)


class WorkerPool:
    """At most `n` sandboxes of one handler ("module:function"), started when none is free; thread-safe."""

    def __init__(self, n: int, handler: str, env: Mapping[str, str] | None = None, *, freeze: bool = True) -> None:
        self._limit = n
        self._handler = handler
        self._env = dict(env or {})
        self._freeze = freeze
        self._directory = Path(tempfile.mkdtemp(prefix="stripe-cache-workers-"))
        REAPER.remove(self._directory)
        self._changed = threading.Condition()
        self._idle: list[Worker] = []
        self._all: list[Worker] = []
        self._starting = 0
        self._outputs = 0
        self._closed = False
        self.cold_starts = 0
        self.init_ms: list[float] = []

    def invoke(self, event: Any, timeout: float = 30.0) -> Result:
        """Run the handler in a free sandbox, in a new one if none is free, or wait for one."""
        worker = self._take()
        try:
            return worker.invoke(event, timeout)
        finally:
            self._give_back(worker)

    def warm(self, count: int | None = None) -> None:
        """Start sandboxes ahead of time, one after the other."""
        taken = [self._take() for _ in range(count or self._limit)]
        for worker in taken:
            self._give_back(worker)

    @property
    def workers(self) -> list[Worker]:
        """The sandboxes that exist now, busy and idle."""
        with self._changed:
            return list(self._all)

    def recycle(self) -> None:
        """End every sandbox, busy ones in mid-flight: the next invocations start cold."""
        for worker in self.workers:
            worker.kill()

    def output(self) -> str:
        """Return everything the handlers printed, sandbox by sandbox, also of those that ended."""
        files = sorted(self._directory.glob("*.txt"), key=lambda path: int(path.stem))
        return "".join(path.read_text(errors="replace") for path in files)

    def emf(self) -> list[dict[str, Any]]:
        """Return the CloudWatch embedded-metric documents among the printed lines."""
        lines = (line for line in self.output().splitlines() if line.startswith("{") and '"_aws"' in line)
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """End every sandbox and remove their output; any number of times."""
        with self._changed:
            self._closed = True
            workers, self._all, self._idle = self._all, [], []
            self._changed.notify_all()
        for worker in workers:
            worker.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _take(self) -> Worker:
        with self._changed:
            while True:
                if self._closed:
                    raise WorkerDiedError("the pool is closed")
                while self._idle:
                    # The one used last, as Lambda prefers: the others grow old and stale.
                    worker = self._idle.pop()
                    if worker.alive:
                        return worker
                    self._drop(worker)
                if len(self._all) + self._starting < self._limit:
                    self._starting += 1
                    self._outputs += 1
                    output = self._directory / f"{self._outputs}.txt"
                    break
                self._changed.wait()
        return self._start(output)

    def _start(self, output: Path) -> Worker:
        worker: Worker | None = None
        try:
            worker = Worker(self._handler, self._env, output, freeze=self._freeze)
        finally:
            with self._changed:
                self._starting -= 1
                if worker is not None:
                    self._all.append(worker)
                    self.cold_starts += 1
                    self.init_ms.append(worker.init_ms)
                closed = self._closed
                self._changed.notify()
        if closed:
            # The pool was closed while the process started: nobody else knows of it.
            worker.close()
            raise WorkerDiedError("the pool is closed")
        return worker

    def _give_back(self, worker: Worker) -> None:
        with self._changed:
            if worker.alive and not self._closed:
                self._idle.append(worker)
            else:
                self._drop(worker)
            self._changed.notify()

    def _drop(self, worker: Worker) -> None:
        if worker in self._all:
            self._all.remove(worker)
        worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
