"""A server that refuses as DynamoDB does, which DynamoDB Local cannot be made to do."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

PREFIX = "com.amazonaws.dynamodb.v20120810#"
SERVICE = "com.amazon.coral.service#"


class FakeDynamoDB:
    """An HTTP server that answers every request with `status` and `body`, and counts requests and connections."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.requests: list[str] = []
        self.connections = 0
        self.hang = Event()
        self.hang.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append(self.headers["X-Amz-Target"].partition(".")[2])
                outer.hang.wait(10)
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def refuse(self, kind: str, message: str = "no", status: int = 400) -> None:
        self.status, self.body = status, json.dumps({"__type": kind, "message": message}).encode()

    def admit(self, item: dict[str, Any]) -> None:
        self.status, self.body = 200, json.dumps({"Item": item}).encode()

    def close(self) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()
