"""A server in place of AWS that answers every call alike: strangely, or byte by byte."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from loopback import Loopback, Quiet

if TYPE_CHECKING:
    import ssl

    import pytest

SERVICES = ("DYNAMODB", "SQS", "KMS", "SECRETS_MANAGER")


class StrangeAws(Loopback):
    """Answers 200 with `body`; with a `pause`, a byte at a time and so many seconds between two. Counts connections."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.body, self.pause = b"{}", 0.0
        self.headers: list[tuple[str, str]] = []
        self.connections = self.requests = 0
        super().__init__(_Handler)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self._scheme = "http" if context is None else "https"

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.server_port}"

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        """Lead boto3 here."""
        names = {f"AWS_ENDPOINT_URL_{service}": self.url for service in SERVICES}
        names |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-west-1"}
        for name, value in names.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)


class _Handler(Quiet, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StrangeAws

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_POST(self) -> None:
        self.given()
        self.server.requests += 1
        if not self.server.pause:
            self.answer(200, self.server.body, self.server.headers)
            return
        try:
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + b" " * 900:
                self.wfile.write(bytes([byte]))
                if not self.server.gate.is_set():
                    return
                time.sleep(self.server.pause)
        except OSError:
            self.close_connection = True
