"""A `requests` session whose answers end by the clock. Importing this imports requests: do it on first use.

The timeout of `requests` bounds each wait for bytes, not their sum (see socket_deadline.py).
"""

from __future__ import annotations

import threading
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from stripe_cache.socket_deadline import Hurried

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


def _left() -> float | None:
    ends = getattr(_mine, "ends", None)
    return None if ends is None else ends - time.monotonic()


class _Connection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = Hurried(self.sock, _left)


class _SecureConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = Hurried(self.sock, _left)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS: dict[str, type] = {"http": _Pool, "https": _SecurePool}
