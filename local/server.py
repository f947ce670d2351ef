"""What every embedded server offers: stop, freeze and thaw, as a context manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from local.ports import LOOPBACK, free_port
from local.process import LocalServerError, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

START_ATTEMPTS = 3


class Server:
    """A server on one port of 127.0.0.1, running as soon as it is constructed."""

    def __init__(self, start: Callable[[int], ServerProcess], port: int | None = None) -> None:
        self.host = LOOPBACK
        self.port, self.process = _start(start, port)

    @property
    def alive(self) -> bool:
        """Whether the server's process still runs."""
        return self.process.alive

    def stop(self) -> None:
        """End the server; any number of times."""
        self.process.stop()

    def freeze(self) -> None:
        """Make the server hang: it accepts connections and answers nothing."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self.process.thaw()

    def kill(self) -> None:
        """End the server as a power cut would."""
        self.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _start(start: Callable[[int], ServerProcess], port: int | None) -> tuple[int, ServerProcess]:
    """Start on the given port, or on a free one, which a stranger may take between our look and the server's bind."""
    if port is not None:
        return port, start(port)
    for _ in range(START_ATTEMPTS - 1):
        chosen = free_port()
        try:
            return chosen, start(chosen)
        except LocalServerError as error:
            if "in use" not in str(error):
                raise
    chosen = free_port()
    return chosen, start(chosen)
