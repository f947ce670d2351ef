"""One request's way through the gate to Stripe: the same steps for both colours, and for whoever repeats by itself."""

from __future__ import annotations

import secrets
from math import inf
from typing import TYPE_CHECKING, Any

from stripe_cache.core import catalog, metrics
from stripe_cache.core.breaker import Admission
from stripe_cache.core.dead_socket import is_dead_socket
from stripe_cache.core.deadline import NEARLY, SHORTEST_STEP
from stripe_cache.core.errors import NoTimeError, OriginUnavailableError, RateLimitedError
from stripe_cache.core.limiter import Demand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stripe_cache.core.limiter import Limiter
    from stripe_cache.core.origin import OriginCall, OriginGate
    from stripe_cache.core.rate_limits import Bucket

    Raw = tuple[Any, int, Mapping[str, str]]

FIRST_BACKOFF = 0.2
"""Seconds before a read that Stripe refused is sent again; about twice as many after each further refusal."""
REASON_HEADER = "stripe-rate-limited-reason"
TOO_MANY, _SERVER_ERROR = 429, 500
PROBE_SECONDS = 5.0
"""What a probe may take besides connecting and reading: the pauses between the attempts that the SDK makes of it.

Most probes report long before; only one that died keeps the others waiting for so long.
"""


class Passage:
    """One request's way through the gate. Used by one thread or task at a time."""

    def __init__(self, gate: OriginGate, call: OriginCall) -> None:
        self._gate = gate
        self._call = call
        self._buckets: tuple[Bucket, ...] = ()
        self._may_repeat = call.is_read and call.repeatable
        self._give_up_at = gate.clock.monotonic() + (0.0 if call.has_stale else gate.deadline.patience())
        self._began = 0.0
        self._limit = inf
        self._ends: float | None = None
        self._backoff = 0.0
        self._is_probe = False

    def enter(self) -> float:
        """Return the seconds to wait before sending; raises when it may not be sent."""
        gate, call = self._gate, self._call
        # Whoever has nothing else is sent: it may be the first to find Stripe well again, and without a cache it would
        # have been sent too. The breaker spares the others a wait for a failure they have a stale entry for.
        if call.yields and not self._is_probe:
            if not gate.deadline.leaves_a_read():
                raise NoTimeError(call.host)
            longest = 2 * gate.deadline.read_timeout(has_stale=True) + PROBE_SECONDS
            admission = gate.breaker(call.host).admit(longest)
            if admission is Admission.REFUSED:
                raise OriginUnavailableError(call.host, gate.last_failure(call.host))
            self._is_probe = admission is Admission.PROBE
        try:
            return self._turn()
        except BaseException:
            self.gave_up()
            raise

    def _turn(self) -> float:
        if self._gate.limiter is not None:
            return self._take_turn(self._gate.limiter)
        self._tally()
        return 0.0

    def repeat(self, raw: Raw | None) -> float | None:
        """Return the seconds until a client may make one more attempt by itself; None if it may not."""
        gate = self._gate
        if self._ends is not None and gate.clock.monotonic() >= self._ends:
            return None
        if raw is not None and raw[1] == TOO_MANY:
            self._was_refused(raw)
        try:
            return self._turn()
        except RateLimitedError:
            return None

    def timeout(self) -> float:
        """Return the seconds an attempt may take, if it is a read; all attempts together, if there is a stale entry."""
        gate = self._gate
        seconds = gate.deadline.read_timeout(has_stale=self._call.yields)
        return seconds if self._ends is None else max(SHORTEST_STEP, min(seconds, self._ends - gate.clock.monotonic()))

    def gave_up(self) -> None:
        """Let somebody else try for all, if that was this request's part: it ends without a word about Stripe."""
        if self._is_probe:
            self._is_probe = False
            self._gate.breaker(self._call.host).withdraw()

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
        if call.yields and self._ends is None:
            self._ends = self._began + gate.deadline.read_timeout(has_stale=True)
        self._limit = self.timeout() if call.is_read else inf
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
        if status != TOO_MANY:
            return False
        if not self._was_refused(raw):
            return False
        # Stripe did nothing with a request it refused, so a read may ask again, in its turn and while there is time.
        self._backoff = (self._backoff * 2 or FIRST_BACKOFF) * (0.75 + secrets.randbelow(500) / 1000)
        return call.is_read and gate.clock.monotonic() + self._backoff < self._give_up_at

    def _was_refused(self, raw: Raw) -> bool:
        """Learn from a 429; return whether Stripe's rate limits were the reason."""
        gate, call = self._gate, self._call
        gate.meter.count(metrics.ORIGIN_RATE_LIMITED, object_type=call.object_type)
        reason = _header(raw[2], REASON_HEADER)
        if not reason or gate.limiter is None or not self._buckets:
            # Without a reason it is a lock timeout on one object: calling less would not help.
            return False
        gate.limiter.learn(call.namespace, self._buckets, reason)
        return True

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
        was_slow = gate.clock.monotonic() - self._began >= self._limit * NEARLY
        if gate.breaker(call.host).failed(was_slow=was_slow, by_probe=self._is_probe):
            gate.meter.count(metrics.ORIGIN_OPEN)
        self._is_probe = False


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((str(value) for other, value in headers.items() if other.lower() == name), "")
