"""The proxy does to connections what it says, and undoes it."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from local.chaos.proxy import Proxy
from local.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def echo() -> Iterator[int]:
    """Answer every connection with what it says; yields the port."""
    listener = socket.create_server((LOOPBACK, 0))
    threads: list[threading.Thread] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=_echo, args=(connection,))
            thread.start()
            threads.append(thread)

    accepting = threading.Thread(target=serve)
    accepting.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for thread in [accepting, *threads]:
        thread.join(5)


def _echo(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:
            return


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(echo) as made:
        yield made


def _connect(proxy: Proxy, timeout: float = 2.0) -> socket.socket:
    return socket.create_connection((LOOPBACK, proxy.port), timeout=timeout)


def _ask(connection: socket.socket, said: bytes = b"hello") -> bytes:
    connection.sendall(said)
    heard = b""
    while len(heard) < len(said):
        part = connection.recv(65536)
        if not part:
            break
        heard += part
    return heard


def test_it_forwards_both_ways_and_ends_with_the_client(proxy: Proxy) -> None:
    with _connect(proxy) as connection:
        assert _ask(connection, b"x" * 200_000) == b"x" * 200_000
        assert proxy.open == 1
    deadline = time.monotonic() + 5
    while proxy.open and time.monotonic() < deadline:
        time.sleep(0.01)
    assert proxy.open == 0


def test_a_slow_connection_answers_late_and_all_the_same(proxy: Proxy) -> None:
    with _connect(proxy) as connection:
        proxy.slow(0.2)
        begun = time.monotonic()
        assert _ask(connection) == b"hello"
        assert time.monotonic() - begun >= 0.2
        proxy.heal()
        assert _ask(connection) == b"hello"


def test_a_throttled_connection_takes_as_long_as_its_bytes(proxy: Proxy) -> None:
    with _connect(proxy) as connection:
        proxy.throttle(10_000)
        begun = time.monotonic()
        assert len(_ask(connection, b"x" * 2000)) == 2000
        assert time.monotonic() - begun >= 0.4


def test_dropped_packets_are_silence_for_open_and_new_connections(proxy: Proxy) -> None:
    with _connect(proxy, 0.3) as connection:
        proxy.drop()
        with pytest.raises(TimeoutError):
            _ask(connection)
        with pytest.raises(TimeoutError):
            _connect(proxy, 0.3)
        proxy.heal()
        with pytest.raises(OSError, match="reset"):
            connection.recv(1)
    with _connect(proxy) as connection:
        assert _ask(connection) == b"hello"


def test_one_direction_may_be_silent_alone(proxy: Proxy) -> None:
    with _connect(proxy, 0.3) as connection:
        proxy.drop(up=False, connecting=False)
        with pytest.raises(TimeoutError):
            _ask(connection)


def test_reset_breaks_what_is_open_and_refuse_what_is_new(proxy: Proxy) -> None:
    with _connect(proxy) as connection:
        assert _ask(connection) == b"hello"
        proxy.refuse()
        assert _ask(connection) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            _connect(proxy)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            _ask(connection)
    proxy.heal()
    with _connect(proxy) as connection:
        assert _ask(connection) == b"hello"


def test_a_server_that_is_gone_resets(echo: int) -> None:
    del echo
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
    with Proxy(port) as proxy, pytest.raises(OSError, match="reset"), _connect(proxy) as connection:
        _ask(connection)
