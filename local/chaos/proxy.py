"""A loopback TCP proxy that makes a healthy server look sick: late, slow, silent, resetting or refusing.

It runs an event loop in a thread of its own. Every setting can be changed while connections are open and holds for
them too. Nothing here knows a protocol: what Redis or DynamoDB would say of being ill, only they can say.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from local.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing then sends RST instead of FIN."""
_FILLERS = 8
_START_SECONDS = 5.0
_FAR_AWAY = 3600.0


@dataclass
class Direction:
    """What happens to bytes that travel one way: `delay` in seconds, `rate` in bytes per second (0: no limit)."""

    delay: float = 0.0
    rate: float = 0.0
    silent: bool = False
    """Taken in and never passed on, as if each packet were lost; what was lost stays lost after healing."""


@dataclass
class Weather:
    """Both directions; `up` is from the client to the server."""

    up: Direction = field(default_factory=Direction)
    down: Direction = field(default_factory=Direction)


class Proxy:
    """Forwards a port of its own to `port`, running as soon as it is constructed; methods are thread-safe."""

    def __init__(self, port: int) -> None:
        self.weather = Weather()
        self.accepted = 0
        self._target = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._listener: socket.socket | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._full: list[socket.socket] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self._call(self._listen())

    @property
    def open(self) -> int:
        """How many connections (two ends each) exist now."""
        return len(self._writers) // 2

    def slow(self, seconds: float) -> None:
        """Let every request and its answer take this much longer, half of it each way."""
        self.weather = Weather(Direction(delay=seconds / 2), Direction(delay=seconds / 2))

    def throttle(self, rate: float) -> None:
        """Let at most `rate` bytes per second through in each direction of each connection."""
        self.weather = Weather(Direction(rate=rate), Direction(rate=rate))

    def drop(self, *, up: bool = True, down: bool = True, connecting: bool = True) -> None:
        """Lose all packets: nothing arrives, nothing is refused. With `connecting`, new connections hang too."""
        self.weather = Weather(Direction(silent=up), Direction(silent=down))
        if connecting:
            self._call(self._hang())

    def refuse(self) -> None:
        """Refuse new connections; the open ones go on."""
        self._call(self._deafen())

    def reset(self) -> None:
        """Break every open connection with RST."""
        self._call(self._break())

    def heal(self) -> None:
        """Forward as if nothing had been. Connections that lost bytes are broken: a peer would give them up too."""
        lost = self.weather.up.silent or self.weather.down.silent
        self.weather = Weather()
        if lost:
            self.reset()
        self._call(self._listen())

    def close(self) -> None:
        """Break everything and stop; any number of times."""
        if not self._thread.is_alive():
            return
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    async def _listen(self) -> None:
        self._empty()
        if self._listener is None:
            self._listener = socket.create_server((LOOPBACK, self.port), backlog=512)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        # By hand: asyncio's servers forget to close what they had accepted, and not begun to serve, as they are closed.
        with contextlib.suppress(BlockingIOError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            self.accepted += 1
            task = asyncio.get_running_loop().create_task(self._serve(connection))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _deafen(self) -> None:
        self._empty()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def _hang(self) -> None:
        """Put a listener in place whose backlog is full: the kernel then drops the SYN of whoever connects."""
        await self._deafen()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, self.port))
        listener.listen(0)
        self._full = [listener]
        for _ in range(_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect((LOOPBACK, self.port))
            self._full.append(filler)

    def _empty(self) -> None:
        for one in self._full:
            one.close()
        self._full = []

    async def _break(self) -> None:
        for writer in list(self._writers):
            _abort(writer)

    async def _end(self) -> None:
        await self._deafen()
        # Whatever was accepted just now begins to be served, so that it can be ended as the rest is.
        await asyncio.sleep(0)
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        # Transports close their sockets one turn of the loop later.
        await asyncio.sleep(0.01)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=CHUNK)
        ends = [writer]
        self._writers.add(writer)
        tasks: list[asyncio.Task[None]] = []
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target, limit=CHUNK)
            ends.append(far_writer)
            self._writers.add(far_writer)
            tasks.append(asyncio.create_task(self._forward(reader, far_writer, lambda: self.weather.up)))
            tasks.append(asyncio.create_task(self._forward(far_reader, writer, lambda: self.weather.down)))
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            _abort(writer)
        finally:
            for task in tasks:
                task.cancel()
            for one in ends:
                self._writers.discard(one)
                one.close()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ways: Callable[[], Direction]
    ) -> None:
        """Pass bytes on, in order and each as late as the weather said when it came."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.create_task(self._send(queue, writer, ways))
        loop = asyncio.get_running_loop()
        try:
            while data := await _read(reader):
                if not ways().silent:
                    queue.put_nowait((loop.time() + ways().delay, data))
            if ways().silent:
                # The end of a stream is a packet as well.
                await asyncio.sleep(_FAR_AWAY)
            queue.put_nowait((loop.time() + ways().delay, b""))
            await sender
        finally:
            sender.cancel()

    async def _send(
        self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, ways: Callable[[], Direction]
    ) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while True:
                due, data = await queue.get()
                if not data:
                    return
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                rate = ways().rate
                if rate:
                    await asyncio.sleep(len(data) / rate)
                writer.write(data)
                await writer.drain()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(CHUNK)
    except OSError:
        return b""


def _abort(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
