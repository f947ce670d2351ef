"""A `requests` session whose answers end by the clock. Importing this imports requests: do it on first use.

The timeout of `requests` bounds each wait for bytes, not their sum: a server that sends one byte in time, again and
again, is waited for as long as it likes. So what a connection reads from its socket is given the time that is left.
"""

from __future__ import annotations

import io
import threading
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_mine = threading.local()
"""When this thread's read ends: a session, its connections and their reading all stay in one thread."""


def request(session: requests.Session, seconds: float, method: str, url: str, **options: Any) -> requests.Response:
    """Send, and read all of the answer within so many seconds of connecting and as many after; raises as requests does.

    With `stream=True` only the answer's head is bounded so: its body is read later, at the reader's own pace.
    """
    _mine.ends = time.monotonic() + seconds
    try:
        return session.request(method, url, timeout=seconds, **options)
    finally:
        _mine.ends = None


def session() -> requests.Session:
    """Make a session; outside of `request` it is like any other."""
    made = requests.Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Adapter())
    return made


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _Reader(io.RawIOBase):
    """What a socket receives, each part of it in the time that is left."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        # Keeps the socket open for as long as the answer is being read, as socket.makefile does.
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        ends = getattr(_mine, "ends", None)
        if ends is not None:
            left = ends - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer did not end in time")
            self._sock.settimeout(left)
        received: int | None = self._raw.readinto(buffer)
        return received

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """Another socket, of which http.client reads through a _Reader."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, *_args: Any, **_options: Any) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock))


class _Connection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Socket(self.sock)


class _SecureConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Socket(self.sock)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS: dict[str, type] = {"http": _Pool, "https": _SecurePool}
