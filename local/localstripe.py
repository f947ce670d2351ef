"""localstripe, a second stand-in for Stripe's API written by others: an independent opinion in tests.

It is GPL software and its dependencies are none of ours, so it lives in an environment of its own and is only ever
talked to over HTTP.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from local.ports import accepts
from local.process import ServerProcess
from local.server import Server

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".tools" / "localstripe"
REQUIREMENTS = Path(__file__).with_name("localstripe-requirements.txt")
PROGRAM = Path(__file__).with_name("localstripe_main.py")


class Localstripe(Server):
    """One localstripe, installed if need be and started on construction; it delivers webhooks about a second late."""

    def __init__(self, *, port: int | None = None) -> None:
        python = ensure_installed()

        def start(chosen: int) -> ServerProcess:
            # -P: this directory has a module of the same name.
            command: list[str | Path] = [python, "-P", PROGRAM, str(chosen)]
            return ServerProcess("localstripe", command, ready=lambda: accepts(chosen), start_seconds=30)

        super().__init__(start, port)

    @property
    def url(self) -> str:
        """What `base_addresses={"api": ...}` takes."""
        return f"http://{self.host}:{self.port}"


def ensure_installed() -> Path:
    """Return the Python of localstripe's environment, making it first (some seconds) when it is missing or outdated.

    Safe to call from several processes at once: one installs, the others wait.
    """
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "installed"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    with (ENVIRONMENT.parent / "localstripe.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if python.exists() and stamp.exists() and stamp.read_text() == digest:
            return python
        venv.create(ENVIRONMENT, with_pip=False, clear=ENVIRONMENT.exists())
        install = [sys.executable, "-m", "uv", "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes"]
        subprocess.run([*install, "--python", str(python), str(REQUIREMENTS)], check=True)
        stamp.write_text(digest)
    return python
