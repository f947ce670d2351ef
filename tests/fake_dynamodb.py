"""A server that refuses as DynamoDB does, which DynamoDB Local cannot be made to do."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

from loopback import PATIENCE, Loopback, Quiet

PREFIX = "com.amazonaws.dynamodb.v20120810#"
SERVICE = "com.amazon.coral.service#"


class FakeDynamoDB(Loopback):
    """Answers every request with `status`, `headers` and `body`, and counts requests and connections."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.headers = [("x-amzn-RequestId", "1")]
        self.requests: list[str] = []
        self.connections = 0
        super().__init__(_Handler)

    def refuse(self, kind: str, message: str = "no", status: int = 400) -> None:
        """Answer with an error from now on."""
        self.status, self.body = status, json.dumps({"__type": kind, "message": message}).encode()

    def admit(self, item: dict[str, Any]) -> None:
        """Answer with an item from now on."""
        self.status, self.body = 200, json.dumps({"Item": item}).encode()


class _Handler(Quiet, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeDynamoDB

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_POST(self) -> None:
        self.given()
        self.server.requests.append(self.headers["X-Amz-Target"].partition(".")[2])
        self.server.gate.wait(PATIENCE)
        self.answer(self.server.status, self.server.body, self.server.headers)
