"""The program inside one Lambda-shaped worker: imports a handler, then answers one invocation after the other.

Messages travel over a socket whose file descriptor is the first argument, so that standard output stays the handler's.
"""

from __future__ import annotations

import importlib
import json
import socket
import struct
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True)
class Context:
    """What Lambda gives a handler besides the event."""

    aws_request_id: str
    function_name: str
    deadline: float
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    log_group_name: str = "/aws/lambda/local"
    log_stream_name: str = "local"

    @property
    def invoked_function_arn(self) -> str:
        """The function's name as an ARN of a made-up account."""
        return f"arn:aws:lambda:us-east-1:123456789012:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the invocation is cut off."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one message; raises TypeError when a value is not JSON."""
    payload = json.dumps(message).encode()
    connection.sendall(_LENGTH.pack(len(payload)) + payload)


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """Wait for one message; None when the other side is gone."""
    head = _exactly(connection, _LENGTH.size)
    if head is None:
        return None
    payload = _exactly(connection, _LENGTH.unpack(head)[0])
    if payload is None:
        return None
    message: dict[str, Any] = json.loads(payload)
    return message


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)


def main() -> int:
    """Import the handler, say so, and serve until the socket closes."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    module, _, function = sys.argv[2].partition(":")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    started = time.perf_counter()
    try:
        handler = getattr(importlib.import_module(module), function)
    except BaseException as error:  # noqa: BLE001 -- whatever the module raises is its start-up error
        send(connection, {"error": _described(error)})
        return 1
    send(connection, {"ready_ms": (time.perf_counter() - started) * 1000})
    while (message := receive(connection)) is not None:
        context = Context(message["id"], message["function"], time.monotonic() + message["seconds"])
        called, begun = time.time(), time.perf_counter()
        answer: dict[str, Any]
        try:
            answer = {"payload": handler(message["event"], context)}
            json.dumps(answer)
        except Exception as error:  # noqa: BLE001 -- Lambda reports every exception of a handler
            answer = {"error": _described(error)}
        answer["at"] = called
        answer["ms"] = (time.perf_counter() - begun) * 1000
        sys.stdout.flush()
        send(connection, answer)
    return 0


def _described(error: BaseException) -> str:
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
