"""What this package adds to redis-py's connections: a deadline that shrinks, and knowing when to be replaced.

redis-py gives every read of the socket its timeout anew, so that a server that trickles holds a caller for as long as
it likes; here what was asked has one deadline, however many reads its answer takes.

A connection that was idle for long is not asked whether it lives: a peer that is gone without a word would answer at
the deadline only. NAT gateways forget a silent connection after 350 s, and a Lambda sleeps longer than that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import redis

from stripe_cache.tiers import redis_role
from stripe_cache.tiers.redis_dialling import Dialling

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_IDLE = 300.0
"""Seconds of silence after which a connection is replaced unasked."""
QUIET = 1.0
"""Seconds of silence after which the kernel is asked whether the peer has closed the connection; it costs 2 us."""
_LEAST = 0.001
"""Seconds for what has arrived already, when nothing is left."""


class Bounded(Dialling):
    """A connection; `bounded` says how much of a setting's seconds is left to use. Not thread-safe."""

    _sock: Any

    def __init__(
        self,
        *,
        timeout: float,
        bounded: Callable[[float], float],
        longest_life: float,
        login: float,
        asks_role: bool = False,
        **options: Any,
    ) -> None:
        self._timeout, self._bounded = timeout, bounded
        self._longest_life, self._login = longest_life, login
        self._ages = longest_life < float("inf")
        self._connect_ends = self._ends = 0.0
        self._entering = False
        self._born = self._used = self._role_asked = (0.0, 0.0)
        self._asks_role = asks_role
        self.has_answered = False
        super().__init__(socket_timeout=timeout, **options)

    @property
    def socket_connect_timeout(self) -> float:
        """The seconds left for connecting: a host may have several addresses, tried one after the other."""
        return max(_LEAST, self._connect_ends - time.monotonic())

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, _: object) -> None:
        """Leave it: redis-py's constructor sets a constant."""

    def is_fit(self) -> bool:
        """Tell whether it may be used again, without asking the server."""
        idle = _since(self._used)
        if idle > LONGEST_IDLE or (self._ages and _since(self._born) > self._longest_life):
            return False
        if idle < QUIET:
            return True
        try:
            return not self.can_read(0)
        except redis.RedisError:
            return False

    def can_read(self, timeout: float = 0) -> bool:
        """Tell whether something lies there unasked; never before the first answer.

        redis-py asks the kernel. After a TLS handshake that has the server's session tickets, which are read together
        with the first answer: redis-py would take them for a reply to somebody else and connect again.
        """
        return self.has_answered and super().can_read(timeout)

    def connect(self) -> None:
        """Connect, unless it is connected and fit."""
        if self._sock is not None and not self.is_fit():
            self.disconnect()
        super().connect()  # type: ignore[no-untyped-call]  # redis-py's

    def disconnect(self, *given: Any, **options: Any) -> None:
        """Close it; any number of times."""
        if not self.has_answered:
            # Connecting proves little: the kernel does that for a process which hangs.
            self.dialled(well=False)
        super().disconnect(*given, **options)  # type: ignore[no-untyped-call]  # redis-py's

    def connect_check_health(self, *given: Any, **options: Any) -> None:
        """Connect by the deadline of now."""
        if self._sock is None:
            self._connect_ends = time.monotonic() + self._bounded(self._timeout)
            self.has_answered = False
            self._born = self._used = _now()
            self._role_asked = 0.0, 0.0
        super().connect_check_health(*given, **options)

    def on_connect_check_health(self, *given: Any, **options: Any) -> None:
        """Log in."""
        self._sock = _Hurried(self._sock, self)
        self._entering, self._ends = True, max(self._connect_ends, time.monotonic() + self._login)
        try:
            super().on_connect_check_health(*given, **options)
        finally:
            self._entering = False
        self.has_answered = False

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 (redis-py's)
        """Send, and give the replies the time that is left now."""
        if self._sock is None:
            self.connect_check_health(check_health=False)
        if not self._entering:
            seconds = self._bounded(self._timeout)
            self._ends = time.monotonic() + seconds
            self._sock.allow(seconds)
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]  # redis-py's

    def hurry(self, ends: float) -> None:
        """Give the replies under way until `ends` of the monotonic clock at most."""
        self._ends = min(ends, self._ends)
        self._sock.hurry()

    def time_left(self) -> float:
        """Return the seconds until what was asked must be answered."""
        return max(_LEAST, self._ends - time.monotonic())

    def asks_role(self) -> bool:
        """Tell whether what is sent now is to ask first whether the server is a master; whoever asks this will."""
        if not self._asks_role or _since(self._role_asked) < redis_role.EVERY:
            return False
        self._role_asked = _now()
        return True

    def told_role(self, reply: Any) -> None:
        """Take the server's word for what it is; raises DemotedError."""
        self._asks_role = redis_role.is_known(reply)

    def answered(self) -> None:
        """Remember that and when it has."""
        self._used, self.has_answered = _now(), True
        self.dialled(well=True)


class _Hurried:
    """A socket whose reads share their connection's deadline."""

    def __init__(self, sock: Any, connection: Bounded) -> None:
        self._sock = sock
        self._time_left = connection.time_left
        self._in_force = -1.0
        self._is_first = False
        # Looked up once, since every command comes by here.
        self.sendall, self._recv_into = sock.sendall, sock.recv_into

    def allow(self, seconds: float) -> None:
        """Give what is sent now, and the first read after it, so many seconds."""
        self._is_first = True
        if seconds != self._in_force:
            # Setting it is a system call.
            self._sock.settimeout(seconds)
            self._in_force = seconds

    def hurry(self) -> None:
        """Have the next read look at the clock."""
        self._is_first = False

    def recv_into(self, buffer: bytearray) -> int:
        """Read what comes by the deadline."""
        if not self._is_first:
            self._in_force = self._time_left()
            self._sock.settimeout(self._in_force)
        self._is_first = False
        read: int = self._recv_into(buffer)
        return read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _now() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _since(then: tuple[float, float]) -> float:
    """Return the seconds since, by the clock that saw more: a sandbox that was paused may have lost one of them."""
    monotonic, wall = _now()
    return max(monotonic - then[0], wall - then[1])
