from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.fake_stripe.client import FakeStripe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def listeners(port: int) -> set[str]:
    """Return the local addresses that listen on a TCP port, as the kernel names them (hexadecimal)."""
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            host, _, number = address.rpartition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(host)
    return found


@pytest.fixture(autouse=True)
def as_at_a_terminal() -> Iterator[None]:
    """Let what is started hear Ctrl-C: a shell that runs the tests in its background has all below them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


LOOPBACK_ADDRESSES = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture
def assert_loopback_only() -> Callable[[int], None]:
    """Check that a port is open, and on loopback addresses alone."""

    def check(port: int) -> None:
        if not Path("/proc/net/tcp").exists():
            pytest.skip("needs /proc/net/tcp")
        addresses = listeners(port)
        assert addresses
        assert addresses <= LOOPBACK_ADDRESSES

    return check


@pytest.fixture
def process_gone() -> Callable[[int], bool]:
    """Tell whether no process has this id any more (a zombie counts as gone)."""

    def gone(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")
        try:
            return stat.read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    return gone


@pytest.fixture(scope="session")
def fake_server() -> Iterator[FakeStripe]:
    with FakeStripe(seed=7) as server:
        yield server


@pytest.fixture
def fake(fake_server: FakeStripe) -> FakeStripe:
    """Return a fake Stripe without objects, limits, faults or counts."""
    fake_server.reset(state=True)
    fake_server.configure(limits={})
    fake_server.reset()
    return fake_server
