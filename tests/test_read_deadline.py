"""A read of Stripe ends by the clock, not by each wait for bytes."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import requests
import stripe

from stripe_cache import sdk_deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from world import World

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def serving(at_once: bytes, slowly: bytes = b"", pause: float = 0.15) -> Iterator[str]:
    """Answer every connection's first request: a part at once, and a part byte by byte."""
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65536)
                        connection.sendall(at_once)
                        for byte in slowly:
                            if stopped.wait(pause):
                                return
                            connection.sendall(bytes([byte]))
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stopped.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@pytest.mark.parametrize(
    ("at_once", "slowly"),
    [
        (HEAD + b"Content-Length: 60\r\n\r\n", b"x" * 60),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3c\r\n", b"x" * 60),
        (b"HTTP/1.1 200 OK\r\n", b"X-Slow: " + b"x" * 60),
    ],
)
def test_an_answer_that_drips_is_given_up_in_time(world: World, at_once: bytes, slowly: bytes) -> None:
    with serving(at_once, slowly) as url:
        client = world.cache("redis", origin_timeout=0.6, api_base=url).client(world.key(), max_network_retries=0)
        began = time.monotonic()
        with pytest.raises(stripe.APIConnectionError):
            client.v1.customers.retrieve("cus_1")
        assert 0.5 < time.monotonic() - began < 2.5, "byte by byte it would have taken nine seconds"


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("closing", [False, True])
def test_an_answer_in_time_is_whole(*, zipped: bool, closing: bool) -> None:
    text = b'{"id": "cus_1"}' * 3000
    body = gzip.compress(text) if zipped else text
    head = HEAD + (b"Content-Encoding: gzip\r\n" if zipped else b"")
    head += b"Connection: close\r\n\r\n" if closing else b"Content-Length: %d\r\n\r\n" % len(body)
    with serving(head + body[:-2], body[-2:], 0.01) as url, sdk_deadline.session() as session:
        answer = sdk_deadline.request(session, 5, "get", url)
        assert answer.content == text
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"


def test_a_connection_is_kept_and_the_next_request_has_a_time_of_its_own(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.key()}"}
    with sdk_deadline.session() as session:
        for _ in range(3):
            assert sdk_deadline.request(session, 30, "get", f"{world.fake.url}/v1/customers", headers=headers).ok
        # A write has its own timeout, and is bounded by no read's end.
        assert session.post(f"{world.fake.url}/v1/customers", headers=headers, timeout=30).ok
        (pool,) = session.get_adapter(world.fake.url).poolmanager.pools._container.values()  # type: ignore[attr-defined]
        assert pool.num_connections == 1


def test_a_certificate_that_proves_nothing_is_refused_as_ever() -> None:
    with serving(HEAD + b"\r\n") as url, sdk_deadline.session() as session, pytest.raises(requests.ConnectionError):
        sdk_deadline.request(session, 2, "get", url.replace("http:", "https:"))
