"""A loopback proxy in front of the fake Stripe: it shows what really arrived, and can keep answers back."""

from __future__ import annotations

import http.client
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from loopback import PATIENCE, Loopback, Quiet

if TYPE_CHECKING:
    from email.message import Message


class Seen(NamedTuple):
    """A request as it came over the wire."""

    method: str
    target: str
    headers: Message
    body: bytes


class Tap(Loopback):
    """Forwards everything to another server and keeps a copy of what it saw.

    While `gate` is cleared, requests are recorded and then wait; `answered` are the statuses sent back.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.seen: list[Seen] = []
        self.answered: list[int] = []
        super().__init__(_Handler)


class _Handler(Quiet, BaseHTTPRequestHandler):
    server: Tap

    def do_GET(self) -> None:
        body = self.given()
        self.server.seen.append(Seen(self.command, self.path, self.headers, body))
        self.server.gate.wait(PATIENCE)
        onward = http.client.HTTPConnection(self.server.upstream, timeout=PATIENCE)
        try:
            onward.request(self.command, self.path, body, dict(self.headers.items()))
            answer = onward.getresponse()
            content = answer.read()
        finally:
            onward.close()
        self.server.answered.append(answer.status)
        kept = [pair for pair in answer.getheaders() if pair[0].lower() not in {"connection", "content-length"}]
        self.answer(answer.status, content, [*kept, ("Connection", "close")])

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()
