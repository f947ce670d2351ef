"""HTTP/1.1 with keep-alive on asyncio: just what API clients and webhook receivers need, and fast."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD_BYTES = 64 * 1024
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True)
class Request:
    """One request; header names are in lower case, the path is decoded, the query is not."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Response:
    """One answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """Return the bytes on the wire."""
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, '')}", f"content-length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + self.body


class Reply(Protocol):
    """How a handler answers, now or later, exactly once."""

    def send(self, response: Response) -> None:
        """Answer the request."""

    def drop(self) -> None:
        """Break the connection without an answer."""


class Connection(asyncio.Protocol):
    """One client connection; requests on it are answered one at a time, in order."""

    def __init__(self, handle: Callable[[Request, Reply], None], open_connections: set[Connection]) -> None:
        self._handle = handle
        self._open = open_connections
        self._buffer = b""
        self._busy = False
        self._closed = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Forget the client; an answer that comes later goes nowhere."""
        self._closed = True
        self._open.discard(self)

    def data_received(self, data: bytes) -> None:
        """Collect bytes and run the next whole request."""
        self._buffer += data
        self._next()

    def send(self, response: Response) -> None:
        """Answer the request that is being handled."""
        self._busy = False
        if self._closed or self._transport is None:
            return
        self._transport.write(response.encoded())
        if self._buffer:
            self._next()

    def drop(self) -> None:
        """Reset the connection."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def _next(self) -> None:
        if self._busy:
            return
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                self.drop()
            return
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        try:
            method, target, _ = lines[0].split(" ", 2)
            headers = dict(_header(line) for line in lines[1:])
            length = int(headers.get("content-length", "0"))
        except ValueError:
            self._refuse(b"malformed request")
            return
        if "transfer-encoding" in headers:
            self._refuse(b"send a Content-Length")
            return
        whole = end + 4 + length
        if len(self._buffer) < whole:
            return
        body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
        path, _, query = target.partition("?")
        self._busy = True
        self._handle(Request(method, unquote(path), query, headers, body), self)

    def _refuse(self, reason: bytes) -> None:
        if self._transport is not None:
            self._transport.write(Response(400, reason, {"connection": "close"}).encoded())
            self._transport.close()


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise ValueError(line)
    return name.strip().lower(), value.strip()
