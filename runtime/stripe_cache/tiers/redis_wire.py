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
from typing import TYPE_CHECKING, Any, NamedTuple

import hiredis
import redis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.connection import ConnectionPool


class IdleConnectionError(redis.ConnectionError):
    """The connection had answered before, and turned out to be closed: the next one is new, and a retry may help."""


class Sent(NamedTuple):
    """Commands under way, whose replies must be received."""

    connection: Any
    replies: int
    was_used: bool
    permits: SimpleQueue[None]


class Wire:
    """Sends commands to one server. Thread-safe; also after a fork. The pool's bound on connections holds.

    Raises redis.RedisError. Nothing is sent twice: the same generation, given again, could let a dead value in. A
    connection that turns out to be closed takes the idle ones with it, which were most likely closed with it (a server
    restarted, a sandbox thawed), so that the next try has a new one.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._idle: deque[Any] = deque()
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
        return self.receive(self.send(commands))

    def send(self, commands: Sequence[tuple[Any, ...]]) -> Sent:
        """Send the commands; what is returned must be given to `receive`, whatever happens in between."""
        if self._pid != os.getpid():
            # A forked child must not write into its parent's connections, nor wait for its parent's threads.
            self._begin()
        permits = self._permits
        permits.get()
        try:
            connection = self._take()
        except BaseException:
            permits.put(None)
            raise
        sent = Sent(connection, len(commands), connection.has_answered, permits)
        try:
            connection.send_packed_command([b"".join(map(hiredis.pack_command, commands))])
        except BaseException as error:
            raise self._failed(sent, error) from error
        return sent

    def receive(self, sent: Sent, ends: float = 0.0) -> list[Any]:
        """Return the replies in order; `ends` (of the monotonic clock) is when somebody else's patience ends."""
        connection = sent.connection
        try:
            if ends:
                connection.hurry(ends)
            replies = [_reply(connection) for _ in range(sent.replies)]
        except BaseException as error:
            raise self._failed(sent, error) from error
        connection.answered()
        if redis.exceptions.ReadOnlyError in map(type, replies):
            # A master that is none any more: its name may by now lead to another server, which only asking again tells.
            self._close(connection)
            self._close_idle()
        else:
            self._idle.append(connection)
        sent.permits.put(None)
        return replies

    def abandon(self, sent: Sent) -> None:
        """Give up commands under way, whose replies nobody wants any more."""
        self._close(sent.connection)
        sent.permits.put(None)

    def _failed(self, sent: Sent, error: BaseException) -> BaseException:
        # What it was asked may still be answered: nobody may take that for the answer to a question of their own.
        self._close(sent.connection)
        if isinstance(error, redis.ConnectionError):
            self._close_idle()
        sent.permits.put(None)
        # Not its subclasses: a server that loads, or refuses the password, does so on any connection.
        return IdleConnectionError(*error.args) if sent.was_used and type(error) is redis.ConnectionError else error

    def _close(self, connection: Any) -> None:
        connection.disconnect()
        self._pool.release(connection)

    def _close_idle(self) -> None:
        while self._idle:
            with suppress(IndexError):
                self._close(self._idle.pop())

    def _take(self) -> Any:
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if connection.is_fit():
                    return connection
                self._close(connection)
        return self._pool.get_connection()


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
