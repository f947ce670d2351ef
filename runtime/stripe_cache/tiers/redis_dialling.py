"""Which of the addresses of a name a connection begins with.

A name may have several: the configuration endpoint of a cluster leads to several nodes. redis-py tries them in the
order of the resolver within one deadline, so that a first one that is silent would use up every deadline there is.
Here one that has just failed comes last the next time; connecting never takes longer for it.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from redis.connection import Connection

Addresses = dict[Any, float]
"""When each address of a name last failed, of the monotonic clock; one that has answered since is not in it."""


class Dialling(Connection):
    """A connection; `failures` is shared by those to one name. Not thread-safe, but for what is shared."""

    def __init__(self, *, failures: Addresses, **options: Any) -> None:
        self._failures = failures
        self._dialled: Any = None
        super().__init__(**options)  # type: ignore[no-untyped-call]  # redis-py's

    def dialled(self, *, well: bool) -> None:
        """Say how it went with the address that was dialled last."""
        if well:
            if self._failures:
                self._failures.pop(self._dialled, None)
        elif self._dialled is not None:
            self._failures[self._dialled] = time.monotonic()

    def _connect(self) -> Any:
        found = socket.getaddrinfo(self.host, self.port, self.socket_type, socket.SOCK_STREAM)
        for gone in self._failures.keys() - {address for *_, address in found}:
            # Nodes come and go behind a name, and a process may live for months.
            self._failures.pop(gone, None)
        # The sort is stable: those that have not failed stay in the order of the resolver, before those that have.
        found.sort(key=lambda one: self._failures.get(one[4], 0.0))
        error: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in found:
            self._dialled = address
            try:
                return self._dial(socket.socket(family, kind, protocol), address)
            except OSError as failure:
                self.dialled(well=False)
                error = failure
        raise error

    def _dial(self, sock: socket.socket, address: Any) -> socket.socket:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in self.socket_keepalive_options.items():
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
            sock.settimeout(self.socket_connect_timeout)
            sock.connect(address)
            sock.settimeout(self.socket_timeout)
        except BaseException:
            sock.close()
            raise
        return sock
