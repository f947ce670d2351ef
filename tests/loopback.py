"""Servers of the tests' own on a free port of this machine, for what the real ones cannot be made to do."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE = 60.0


class Loopback(ThreadingHTTPServer):
    """Serves until it is left; while `gate` is cleared, handlers that ask it keep their answers back."""

    daemon_threads = True
    request_queue_size = 200

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.gate = Event()
        self.gate.set()
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where clients are to be pointed."""
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class Quiet(BaseHTTPRequestHandler):
    """A handler that logs nothing and knows how to answer."""

    def given(self) -> bytes:
        """Read the request's body."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, content: bytes, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send an answer."""
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
