"""The HTTP side of the webhook function: what API Gateway does, on loopback."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from local.ports import LOOPBACK
from local.workers import WorkerDiedError

if TYPE_CHECKING:
    from local.workers import WorkerPool

PATH = "/webhook"
SECONDS = 10.0


class WebhookFront:
    """Hands each POST to the webhook handler's sandboxes as an HTTP API event; listens while it is open."""

    def __init__(self, pool: WorkerPool) -> None:
        self.statuses: dict[int, int] = {}
        self.queued: set[str] = set()
        """Events whose first 2xx said that some tier could not be told yet."""
        self._acknowledged: set[str] = set()
        self._pool = pool
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler_class())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where Stripe is told to deliver."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}{PATH}"

    def deliver(self, headers: dict[str, str], body: bytes) -> int:
        """Run the handler on one delivery and return its status; 502 when the function failed."""
        event = {
            "version": "2.0",
            "routeKey": f"POST {PATH}",
            "rawPath": PATH,
            "headers": {name.lower(): value for name, value in headers.items()},
            "requestContext": {"http": {"method": "POST", "path": PATH}},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }
        try:
            result = self._pool.invoke(event, SECONDS)
        except WorkerDiedError:
            return self._count(502)
        if result.error is not None:
            return self._count(502)
        status = int(result.payload["statusCode"])
        if 200 <= status < 300:  # noqa: PLR2004 -- the class of success
            self._note(json.loads(body)["id"], json.loads(result.payload["body"])["result"])
        return self._count(status)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _note(self, event: str, word: str) -> None:
        with self._lock:
            if word == "queued" and event not in self._acknowledged:
                self.queued.add(event)
            self._acknowledged.add(event)

    def _count(self, status: int) -> int:
        with self._lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1
        return status

    def _handler_class(self) -> type[BaseHTTPRequestHandler]:
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                status = front.deliver(dict(self.headers), body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Print nothing: deliveries are counted."""

        return Handler

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
