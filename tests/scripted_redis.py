"""A Redis that says what it is told to, for answers that no real server can be brought to give."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


_ROLE = b"*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n"
_NO_ROLE = b"-ERR unknown command\r\n"


class ScriptedRedis:
    """Answers each batch of commands it receives with `answer(batch)`; None closes the connection."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.batches: list[bytes] = []
        self.connections = 0
        self._peers: list[socket.socket] = []
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self.connections += 1
                self._peers.append(peer)
                Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with suppress(OSError), peer:
            while batch := peer.recv(65536):
                # Nobody scripts what it is: it takes itself for no server that has a role.
                role, batch = (_NO_ROLE, batch[len(_ROLE) :]) if batch.startswith(_ROLE) else (b"", batch)
                self.batches.append(batch)
                said = self._answer(batch)
                if said is None:
                    return
                peer.sendall(role + said)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._peers:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()
