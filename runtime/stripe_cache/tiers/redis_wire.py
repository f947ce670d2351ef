"""Commands on redis-py's connections, without what its client does around each one.

For every command redis-py's client takes a connection from a pool under a lock, polls it for stray data, times the
command, reports to its metrics and gives the connection back: on a fast network that takes longer than the answer.
Here connections stay at hand, and what the polling is for is ruled out: one whose replies were not all read is closed
before anybody else gets it, and one that the server has closed shows itself at the first reply.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Any, NamedTuple

import hiredis
import redis

from stripe_cache.tiers import redis_role
from stripe_cache.tiers.redis_permits import permits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.tiers.redis_bounded import Bounded
    from stripe_cache.tiers.redis_permits import Permit


class IdleConnectionError(redis.ConnectionError):
    """The connection had answered before, and turned out to be closed: the next one is new, and a retry may help."""


class BusyError(redis.RedisError):
    """Other threads had all connections for too long, and none of them failed: it says nothing about the server."""


class Sent(NamedTuple):
    """Commands under way, whose replies must be received."""

    connection: Bounded
    replies: int
    was_used: bool
    permit: Permit
    asks_role: bool


class Wire:
    """Sends commands to one server, over `most` connections at once. Thread-safe; also after a fork.

    `make` makes a connection, and `patience` says how many seconds a thread too many waits for its turn; it is given
    up before that when the server has failed another thread meanwhile, which had its time for waiting. Raises
    redis.RedisError. Nothing is sent twice: the same generation, given again, could let a dead value in. A connection
    that turns out to be closed takes the idle ones with it, which were most likely closed with it (a server restarted,
    a sandbox thawed), so that the next try has a new one.
    """

    def __init__(self, make: Callable[[], Bounded], most: int, patience: Callable[[], float]) -> None:
        self._make = make
        self._most = most
        self._patience = patience
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._idle: deque[Bounded] = deque()
        self._permits = permits(self._most)
        self._failed_at = 0.0

    def execute_command(self, *command: Any) -> Any:
        """Send one command and return its reply; an error reply is raised."""
        (reply,) = self.exchange([command])
        if isinstance(reply, redis.ResponseError):
            raise reply
        return reply

    def exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send the commands in one round trip and return their replies in order; an error reply is one of them."""
        return self.receive(self.send(commands))

    def send(self, commands: Sequence[tuple[Any, ...]], since: float = 0.0) -> Sent:
        """Send the commands; what is returned must be given to `receive`, whatever happens in between.

        `since` (of the monotonic clock) is when the caller began to wait, if it has waited for others before.
        """
        if self._pid != os.getpid():
            # A forked child must not write into its parent's connections, nor wait for its parent's threads.
            self._begin()
        try:
            permit = self._permits.get_nowait()
        except Empty:
            permit = self._wait(since or time.monotonic())
        try:
            connection = self._take()
        except BaseException as error:
            self._note(error)
            permit.give_back()
            raise
        asks_role = connection.asks_role()
        sent = Sent(connection, len(commands), connection.has_answered, permit, asks_role)
        asked = (redis_role.QUESTION, *commands) if asks_role else commands
        try:
            connection.send_packed_command([b"".join(map(hiredis.pack_command, asked))])
        except BaseException as error:
            raise self._failed(sent, error) from error
        return sent

    def receive(self, sent: Sent, ends: float = 0.0) -> list[Any]:
        """Return the replies in order; `ends` (of the monotonic clock) is when somebody else's patience ends."""
        connection = sent.connection
        try:
            if ends:
                connection.hurry(ends)
            role = _reply(connection) if sent.asks_role else None
            replies = [_reply(connection) for _ in range(sent.replies)]
            # A node of a cluster says by MOVED what is wrong, and no word of old values with it.
            if sent.asks_role and redis.exceptions.MovedError not in map(type, replies):
                connection.told_role(role)
        except BaseException as error:
            raise self._failed(sent, error) from error
        connection.answered()
        if redis.exceptions.ReadOnlyError in map(type, replies):
            # A master that is none any more: its name may by now lead to another server, which only asking again tells.
            connection.disconnect()
            self._close_idle()
        else:
            self._idle.append(connection)
        sent.permit.give_back()
        return replies

    def abandon(self, sent: Sent) -> None:
        """Give up commands under way, whose replies nobody wants any more."""
        sent.connection.disconnect()
        sent.permit.give_back()

    def _wait(self, began: float) -> Permit:
        try:
            permit = self._permits.get(timeout=max(0.0, began + self._patience() - time.monotonic()))
        except Empty:
            permit = None
        if self._failed_at > began:
            # Each of those who wait would otherwise wait as long again, one wave of connections after the other.
            if permit is not None:
                permit.give_back()
            raise redis.TimeoutError("the server failed other threads while this one waited for a connection")
        if permit is None:
            raise BusyError(f"all {self._most} connections of this process are in use by other threads")
        return permit

    def _failed(self, sent: Sent, error: BaseException) -> BaseException:
        # What it was asked may still be answered: nobody may take that for the answer to a question of their own.
        sent.connection.disconnect()
        if isinstance(error, redis.ConnectionError):
            self._close_idle()
        # Not its other subclasses: a server that loads, or refuses the password, does so on any connection.
        if sent.was_used and type(error) in {redis.ConnectionError, redis_role.DemotedError}:
            error = IdleConnectionError(*error.args)
        self._note(error)
        sent.permit.give_back()
        return error

    def _note(self, error: BaseException) -> None:
        """Remember when the server last failed; before the permit is given back, so that whoever gets it knows."""
        is_sign = isinstance(error, (redis.ConnectionError, redis.TimeoutError))
        if is_sign and not isinstance(error, IdleConnectionError):
            self._failed_at = time.monotonic()

    def _close_idle(self) -> None:
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().disconnect()

    def _take(self) -> Bounded:
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if connection.is_fit():
                    return connection
                connection.disconnect()
        connection = self._make()
        connection.connect()
        return connection


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
