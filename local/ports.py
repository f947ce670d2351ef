"""Free ports on loopback, for servers that must be told their port before they start."""

from __future__ import annotations

import socket
import time

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on now.

    Another program may take it before the caller does: whoever starts a server here starts it again on another port
    when the first attempt ends early.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int, *, timeout: float = 0.2) -> bool:
    """Tell whether something accepts connections on this port of 127.0.0.1."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout):
            return True
    except OSError:
        return False


def wait_until_closed(port: int, *, timeout: float = 5.0) -> bool:
    """Wait at most `timeout` seconds until nothing accepts on the port; False when something still does."""
    deadline = time.monotonic() + timeout
    while accepts(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
