"""Commands on redis-py's connections, without what its client does around each one.

For every command redis-py's client takes a connection from a pool under a lock, polls it for stray data, times the
command, reports to its metrics and gives the connection back: on a fast network that takes longer than the answer.
Here connections stay at hand, and what the polling is for is ruled out: one whose replies were not all read is closed
before anybody else gets it, and one that the server has closed shows itself at the first reply.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import hiredis
import redis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.connection import AbstractConnection


class Wire:
    """Sends commands to one server. Thread-safe; also after a fork. The pool's bound on connections holds.

    Raises redis.RedisError. Nothing is sent twice: the same generation, given again, could let a dead value in. A
    connection that turns out to be closed takes the idle ones with it, which were most likely closed with it (a server
    restarted, a sandbox thawed), so that the next try has a new one.
    """

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._idle: deque[AbstractConnection] = deque()
        # One permit per connection: a thread too many waits for its turn. redis-py's pool would refuse it, and threads
        # of our own are no sign that the server is sick.
        self._permits: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._pool.max_connections):
            self._permits.put(None)

    def execute_command(self, *command: Any) -> Any:
        """Send one command and return its reply; an error reply is raised."""
        (reply,) = self.exchange([command])
        if isinstance(reply, redis.ResponseError):
            raise reply
        return reply

    def exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send the commands in one round trip and return their replies in order; an error reply is one of them."""
        if self._pid != os.getpid():
            # A forked child must not write into its parent's connections, nor wait for its parent's threads.
            self._begin()
        permits = self._permits
        permits.get()
        try:
            return self._exchange(commands)
        finally:
            permits.put(None)

    def _exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        connection = self._take()
        try:
            replies = _exchange(connection, commands)
        except BaseException as error:
            # What it was asked may still be answered: nobody may take that for the answer to a question of their own.
            self._close(connection)
            if isinstance(error, redis.ConnectionError):
                while self._idle:
                    with suppress(IndexError):
                        self._close(self._idle.pop())
            raise
        self._idle.append(connection)
        return replies

    def _close(self, connection: Any) -> None:
        connection.disconnect()
        self._pool.release(connection)

    def _take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._pool.get_connection()


def _exchange(connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    connection.send_packed_command([b"".join(map(hiredis.pack_command, commands))])
    return [_reply(connection) for _ in commands]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
