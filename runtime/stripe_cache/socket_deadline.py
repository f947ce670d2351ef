"""A socket whose sending and reading end by the clock, for HTTP clients that bound each wait and not their sum.

A server that sends one byte in time, again and again, is waited for as long as it likes otherwise.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Left = Callable[[], float | None]
    """Tells the seconds that are left, zero or less when none are; None while nothing is bounded."""


class Hurried:
    """Another socket; what http.client sends and reads through it is given the time that is `left`.

    Raises TimeoutError when none is. TLS or not: it goes around the socket that the handshake has made.
    """

    def __init__(self, sock: Any, left: Left) -> None:
        self._sock = sock
        self._left = left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, data: Any, *flags: int) -> None:
        """Send all of it. Part by part: over TLS, a peer that takes a record now and then is given each one's time."""
        unsent = memoryview(data).cast("B")
        while unsent:
            hurry(self._sock, self._left)
            unsent = unsent[self._sock.send(unsent, *flags) :]

    def makefile(self, *_args: Any, **_options: Any) -> io.BufferedReader:
        """Return what http.client reads an answer from."""
        return io.BufferedReader(_Reader(self._sock, self._left))


class _Reader(io.RawIOBase):
    """What a socket receives, each part of it in the time that is left."""

    def __init__(self, sock: Any, left: Left) -> None:
        self._sock = sock
        self._left = left
        # Keeps the socket open for as long as the answer is being read, as socket.makefile does.
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        hurry(self._sock, self._left)
        received: int | None = self._raw.readinto(buffer)
        return received

    def close(self) -> None:
        self._raw.close()
        super().close()


def hurry(sock: Any, left: Left) -> None:
    """Give what the socket does next the time that is left; raises TimeoutError when none is."""
    seconds = left()
    if seconds is None:
        return
    if seconds <= 0:
        raise TimeoutError("the exchange did not end in time")
    sock.settimeout(seconds)
