"""The gate every request to Stripe passes: may it go, when, and what does its outcome teach us?

Before a call: is Stripe known to be down (breaker), and when is there a token (limiter)? After it: what did Stripe
refuse, and is this one of the few failures that may be tried again at once? A call that may not go raises a typed
error at once, or as soon as its patience is known not to suffice; the engine then looks for a stale entry.
"""

from __future__ import annotations

import errno
import secrets
import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from stripe_cache.core import catalog, metrics
from stripe_cache.core.breaker import Breaker
from stripe_cache.core.errors import OriginUnavailableError, RateLimitedError
from stripe_cache.core.limiter import Demand

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from stripe_cache.core.allocation import Allocation
    from stripe_cache.core.clock import Clock
    from stripe_cache.core.deadline import Deadline
    from stripe_cache.core.latencies import Latencies
    from stripe_cache.core.limiter import Limiter
    from stripe_cache.core.ports import Meter
    from stripe_cache.core.rate_limits import Bucket, RateLimits

    Raw = tuple[Any, int, Mapping[str, str]]

Answered = TypeVar("Answered", bound="Raw")

FAILURES_TO_OPEN = 5
"""Failures in a row: one operation that always answers 500 in between others that work must not close the gate."""
FIRST_BACKOFF = 0.2
"""Seconds before a read that Stripe refused is sent again; about twice as many after each further refusal."""
REASON_HEADER = "stripe-rate-limited-reason"
_TOO_MANY, _SERVER_ERROR = 429, 500
_NEARLY = 0.9
"""The share of its timeout after which a failure was a timeout, as clocks and clients measure."""
_DEAD_SOCKET = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})
# httpx and aiohttp raise classes of their own for a peer that hung up, without an OSError beneath them.
_DEAD_SOCKET_NAMES = frozenset({"RemoteProtocolError", "ServerDisconnectedError"})
_DEEPEST_CAUSE = 12


@dataclass(frozen=True, slots=True)
class OriginCall:
    """One request to Stripe, before it is sent.

    `critical` reads may use the reserve, as all writes may. `has_stale` says that a stale entry would do: then it does
    not wait, and is not sent while Stripe seems to be down. `repeatable` is False where the SDK retries on its own.
    """

    namespace: str
    method: str
    host: str
    path: str
    object_type: str = ""
    critical: bool = False
    has_stale: bool = False
    repeatable: bool = True

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "get"

    @property
    def is_urgent(self) -> bool:
        """Whether it may use the reserve, and is tried even while Stripe seems to be down."""
        return self.critical or not self.is_read


class OriginGate:
    """Lets requests out to Stripe. Thread-safe; `limiter` None lets all out at once."""

    def __init__(
        self,
        limiter: Limiter | None,
        limits: RateLimits,
        allocation: Allocation,
        *,
        deadline: Deadline,
        latencies: Latencies,
        clock: Clock,
        meter: Meter,
    ) -> None:
        self.limiter = limiter
        self.allocation = allocation
        self.deadline = deadline
        self.latencies = latencies
        self.limits = limits
        self.clock = clock
        self.meter = meter
        self._breakers: dict[str, Breaker] = {}
        self._last_failure: dict[str, str] = {}

    def call(self, call: OriginCall, send: Callable[[], Answered]) -> Answered:
        """Send in its turn, if need be again; raises RateLimitedError, OriginUnavailableError, and as `send`."""
        attempt = _Attempt(self, call)
        while True:
            pause = attempt.enter()
            if pause:
                time.sleep(pause)
            attempt.departs()
            try:
                raw = send()
            except Exception as error:
                if not attempt.failed(error):
                    raise
            else:
                if not attempt.answered(raw):
                    return raw

    async def call_async(self, call: OriginCall, send: Callable[[], Awaitable[Answered]]) -> Answered:
        """Do the same without blocking the event loop; a read that takes too long is cancelled with a TimeoutError."""
        import asyncio

        attempt = _Attempt(self, call)
        while True:
            pause = await asyncio.to_thread(attempt.enter)
            if pause:
                await asyncio.sleep(pause)
            attempt.departs()
            try:
                if call.is_read:
                    async with asyncio.timeout(self.deadline.read_timeout()):
                        raw = await send()
                else:
                    raw = await send()
            except Exception as error:
                if not attempt.failed(error):
                    raise
            else:
                # A refusal is told to Redis; everything else is arithmetic.
                refused = raw[1] == _TOO_MANY
                again = await asyncio.to_thread(attempt.answered, raw) if refused else attempt.answered(raw)
                if not again:
                    return raw

    @property
    def counted_by_limiter(self) -> bool:
        """Whether the script that takes tokens counts the reads as well."""
        return not self.allocation.batched

    def is_open(self, host: str) -> bool:
        """Whether calls to this host are being turned away."""
        return host in self._breakers and self._breakers[host].is_open

    def is_resting(self, url: str) -> bool:
        """Whether a read of this URL that has a stale entry would be turned away right now."""
        return any(breaker.is_resting and url.startswith(f"{host}/") for host, breaker in list(self._breakers.items()))

    def breaker(self, host: str) -> Breaker:
        """Return the host's breaker."""
        found = self._breakers.get(host)
        if found is None:
            found = self._breakers.setdefault(host, Breaker(self.clock, FAILURES_TO_OPEN))
        return found

    def note_failure(self, host: str, what: str) -> None:
        """Remember what the last failure was, for whoever is turned away because of it."""
        self._last_failure[host] = what

    def last_failure(self, host: str) -> str:
        """Return what the last failure was."""
        return self._last_failure.get(host, "unknown")


class _Attempt:
    """One request's way through the gate: the same steps for both colours."""

    def __init__(self, gate: OriginGate, call: OriginCall) -> None:
        self._gate = gate
        self._call = call
        self._buckets: tuple[Bucket, ...] = ()
        self._may_repeat = call.is_read and call.repeatable
        self._give_up_at = gate.clock.monotonic() + (0.0 if call.has_stale else gate.deadline.patience())
        self._began = 0.0
        self._limit = inf
        self._backoff = 0.0

    def enter(self) -> float:
        """Return the seconds to wait before sending; raises when it may not be sent."""
        gate, call = self._gate, self._call
        # Whoever has nothing else is sent: it may be the first to find Stripe well again, and without a cache it would
        # have been sent too. The breaker spares the others a wait for a failure they have a stale entry for.
        if call.has_stale and not call.is_urgent and not gate.breaker(call.host).admits():
            raise OriginUnavailableError(call.host, gate.last_failure(call.host))
        if gate.limiter is not None:
            return self._take_turn(gate.limiter)
        self._tally()
        return 0.0

    def _take_turn(self, limiter: Limiter) -> float:
        gate, call = self._gate, self._call
        operation = catalog.match(call.method, call.path)
        self._buckets = gate.limits.buckets(call.namespace, call.method, operation)
        patience = max(0.0, self._give_up_at - gate.clock.monotonic())
        demand = Demand(call.namespace, self._buckets, call.is_urgent, patience, int(call.is_read), call.is_read)
        grant = limiter.ask(demand)
        if not grant.given:
            gate.meter.count(metrics.ORIGIN_REFUSED, object_type=call.object_type)
            raise RateLimitedError(call.namespace, grant.bucket, grant.wait, patience)
        if grant.wait:
            gate.meter.observe(metrics.ORIGIN_WAIT, grant.wait * 1000)
        self._tally()
        return max(grant.wait, self._backoff)

    def _tally(self) -> None:
        if self._call.is_read:
            self._gate.allocation.tally(self._call.namespace)

    def departs(self) -> None:
        """Note that the request is being sent."""
        gate, call = self._gate, self._call
        self._began = gate.clock.monotonic()
        self._limit = gate.deadline.read_timeout() if call.is_read else inf
        gate.meter.count(metrics.ORIGIN_CALL, object_type=call.object_type)
        if call.is_read:
            gate.meter.count(metrics.ORIGIN_READS)

    def answered(self, raw: Raw) -> bool:
        """Learn from an answer; return whether to send once more."""
        gate, call, status = self._gate, self._call, raw[1]
        took = gate.clock.monotonic() - self._began
        gate.meter.observe(metrics.ORIGIN_LATENCY, took * 1000)
        if status >= _SERVER_ERROR:
            self._count_failure(f"HTTP {status}")
            return False
        gate.breaker(call.host).succeeded()
        if call.is_read:
            gate.latencies.note(call.object_type, took)
        if status != _TOO_MANY:
            return False
        gate.meter.count(metrics.ORIGIN_RATE_LIMITED, object_type=call.object_type)
        reason = _header(raw[2], REASON_HEADER)
        if not reason or gate.limiter is None or not self._buckets:
            # Without a reason it is a lock timeout on one object: calling less would not help.
            return False
        gate.limiter.learn(call.namespace, self._buckets, reason)
        # Stripe did nothing with a request it refused, so a read may ask again, in its turn and while there is time.
        self._backoff = (self._backoff * 2 or FIRST_BACKOFF) * (0.75 + secrets.randbelow(500) / 1000)
        return call.is_read and gate.clock.monotonic() + self._backoff < self._give_up_at

    def failed(self, error: Exception) -> bool:
        """Learn from a failure; return whether to send once more: a read on a connection that was dead already."""
        self._gate.meter.observe(metrics.ORIGIN_LATENCY, (self._gate.clock.monotonic() - self._began) * 1000)
        again, self._may_repeat = self._may_repeat and is_dead_socket(error), False
        if not again:
            # A dead connection says nothing of Stripe: after a thaw every thread finds one.
            self._count_failure(type(error).__name__)
        return again

    def _count_failure(self, what: str) -> None:
        gate, call = self._gate, self._call
        gate.note_failure(call.host, what)
        gate.meter.count(metrics.ORIGIN_ERROR, object_type=call.object_type)
        # A silent Stripe opens it at once: five readers in turn would wait out their timeouts for a stale entry.
        was_slow = gate.clock.monotonic() - self._began >= self._limit * _NEARLY
        if gate.breaker(call.host).failed(was_slow=was_slow):
            gate.meter.count(metrics.ORIGIN_OPEN)


def is_dead_socket(error: BaseException) -> bool:
    """Tell whether the connection turned out to be closed: no timeout, no refusal, no failed name or certificate."""
    return any(
        (isinstance(one, OSError) and one.errno in _DEAD_SOCKET)
        or isinstance(one, (ConnectionResetError, BrokenPipeError, ConnectionAbortedError))
        or type(one).__name__ in _DEAD_SOCKET_NAMES
        for one in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk down an exception: causes, contexts, and exceptions that urllib3 and requests carry as arguments."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _DEEPEST_CAUSE:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        below = (one.__cause__, one.__context__, *one.args)
        waiting += [other for other in below if isinstance(other, BaseException)]


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((str(value) for other, value in headers.items() if other.lower() == name), "")
