"""Commands on redis-py's connections, without what its client does around each one.

For every command redis-py's client takes a connection from a pool under a lock, polls it for stray data, times the
command, reports to its metrics and gives the connection back: on a fast network that takes longer than the answer.
Here connections stay at hand, and what the polling is for is ruled out: one whose replies were not all read is closed
before anybody else gets it, and one that the server has closed shows itself at the first reply.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any

import hiredis
import redis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.connection import AbstractConnection


class Wire:
    """Sends commands to one server. Thread-safe; also after a fork. The pool's bound on connections holds.

    Raises redis.RedisError. A connection that turns out to be closed is opened anew, once, and the commands are sent
    again.
    """

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        self._pid = os.getpid()
        self._idle: deque[AbstractConnection] = deque()

    def execute_command(self, *command: Any) -> Any:
        """Send one command and return its reply; an error reply is raised."""
        (reply,) = self.exchange([command])
        if isinstance(reply, redis.ResponseError):
            raise reply
        return reply

    def exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send the commands in one round trip and return their replies in order; an error reply is one of them."""
        connection = self._take()
        try:
            try:
                replies = _exchange(connection, commands)
            except redis.ConnectionError:
                connection.disconnect()
                replies = _exchange(connection, commands)
        except BaseException:
            # What it was asked may still be answered: nobody may take that for the answer to a question of their own.
            connection.disconnect()
            self._pool.release(connection)
            raise
        self._idle.append(connection)
        return replies

    def _take(self) -> Any:
        if self._pid != os.getpid():
            # A forked child must not write into its parent's connections.
            self._idle, self._pid = deque(), os.getpid()
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
