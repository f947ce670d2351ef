"""A botocore client whose calls end by the clock. Importing this imports botocore: do it on first use.

botocore's `read_timeout` bounds each wait for bytes, not their sum (see socket_deadline.py), and `connect_timeout` each
address of a name. Here `connect_timeout` is the time for connecting, all addresses and the TLS handshake together, and
once more for sending; `read_timeout` is the time from the first byte sent to the last byte of the answer. Looking up
the name comes on top (docs/tiers.md). What is late ends as botocore's own ConnectTimeoutError or ReadTimeoutError, and
its connection is closed.
"""

from __future__ import annotations

import logging
import socket
import time
from typing import Any

from botocore.awsrequest import AWSHTTPConnection, AWSHTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from stripe_cache.socket_deadline import Hurried, hurry

log = logging.getLogger("stripe_cache")


def bounded(client: Any) -> Any:
    """Return the client, with every call of it bounded as its configuration says. Do it before its first call.

    The clients of anybody else are left as they are: what is replaced are the pools of this one.
    """
    try:
        session = client._endpoint.http_session  # noqa: SLF001 (botocore has no other way to its pools)
        manager = session._manager  # noqa: SLF001 (as above)
    except AttributeError:
        # Lambda brings a boto3 of its own, and newer ones may look different inside: a cache that may be slow is
        # better than none.
        log.warning("this botocore has no connection pools where they are expected: its calls are bounded by it alone")
        return client
    # The session's is for managers of proxies, which are made later.
    session._pool_classes_by_scheme = manager.pool_classes_by_scheme = _POOLS  # noqa: SLF001 (as above)
    return client


class _End:
    """When an exchange ends. Apart from its connection, so that no cycle keeps a dropped one from being freed."""

    def __init__(self) -> None:
        self._at: float | None = None

    def set(self, seconds: float | None, since: float) -> None:
        self._at = None if seconds is None else since + seconds

    def left(self) -> float | None:
        return None if self._at is None else self._at - time.monotonic()


class _Bounded:
    """What bounds a connection of botocore's; one thread uses it at a time."""

    # Of urllib3's connections. `timeout` is for connecting until the request is sent, then for the answer.
    timeout: float | None
    sock: Any
    _dns_host: str
    port: int

    _began: float = 0.0

    def __init__(self, *given: Any, **options: Any) -> None:
        self._end = _End()
        super().__init__(*given, **options)

    def connect(self) -> None:
        """Connect and shake hands by one deadline."""
        self._end.set(self.timeout, time.monotonic())
        super().connect()  # type: ignore[misc]  # of the connection this is mixed with
        self.sock = Hurried(self.sock, self._end.left)

    def _new_conn(self) -> Any:
        """Try the addresses of the name one after the other, each in the time that all of them have left."""
        name, timeout = self._dns_host, self.timeout
        try:
            found = socket.getaddrinfo(name, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NewConnectionError(self, f"Failed to resolve {name!r} ({error})") from error  # type: ignore[arg-type]
        # Looking up the name has no deadline, and takes none of this one's time.
        self._end.set(timeout, time.monotonic())
        try:
            for address in dict.fromkeys(str(place[4][0]) for place in found):
                self._dns_host, self.timeout = address, self._left_to_connect()
                try:
                    sock = super()._new_conn()  # type: ignore[misc]  # as above
                except (NewConnectionError, ConnectTimeoutError) as error:
                    failure = error
                    continue
                # The handshake, which CPython bounds as a whole, gets what is left.
                sock.settimeout(self._left_to_connect())
                return sock
        finally:
            # TLS verifies the name, not the address.
            self._dns_host, self.timeout = name, timeout
        raise failure

    def _tunnel(self) -> None:
        """Have a proxy connect, by the same deadline; the handshake then needs the socket itself."""
        plain, self.sock = self.sock, Hurried(self.sock, self._end.left)
        super()._tunnel()  # type: ignore[misc]  # as above
        self.sock = plain
        hurry(plain, self._end.left)

    def request(self, *given: Any, **options: Any) -> None:
        """Connect if need be, and then send by a deadline of its own."""
        if self.sock is None:
            self.connect()
        self._began = time.monotonic()
        self._end.set(self.timeout, self._began)
        super().request(*given, **options)  # type: ignore[misc]  # as above

    def getresponse(self, *given: Any, **options: Any) -> Any:
        """Read the answer's head, and let its body be read, by a deadline that began with the sending."""
        self._end.set(self.timeout, self._began)
        return super().getresponse(*given, **options)  # type: ignore[misc]  # as above

    def _left_to_connect(self) -> float | None:
        left = self._end.left()
        if left is not None and left <= 0:
            raise ConnectTimeoutError(self, f"Connection to {self._dns_host} timed out")
        return left


class _Connection(_Bounded, AWSHTTPConnection):  # type: ignore[misc]  # botocore's own bases disagree
    pass


class _SecureConnection(_Bounded, AWSHTTPSConnection):  # type: ignore[misc]  # as above
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS: dict[str, type] = {"http": _Pool, "https": _SecurePool}
