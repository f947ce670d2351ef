"""The gate every request to Stripe passes: may it go, when, and what does its outcome teach us?

Before a call: is Stripe known to be down (breaker), and when is there a token (limiter)? After it: what did Stripe
refuse, and is this one of the few failures that may be tried again at once? A call that may not go raises a typed
error at once, or as soon as its patience is known not to suffice; the engine then looks for a stale entry.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from stripe_cache.core.breaker import Breaker
from stripe_cache.core.passage import TOO_MANY, Passage
from stripe_cache.core.repeats import sending, under_way

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from stripe_cache.core.allocation import Allocation
    from stripe_cache.core.clock import Clock
    from stripe_cache.core.deadline import Deadline
    from stripe_cache.core.latencies import Latencies
    from stripe_cache.core.limiter import Limiter
    from stripe_cache.core.ports import Meter
    from stripe_cache.core.rate_limits import RateLimits

    Raw = tuple[Any, int, Mapping[str, str]]

Answered = TypeVar("Answered", bound="Raw")

FAILURES_TO_OPEN = 5
"""Failures in a row: one operation that always answers 500 in between others that work must not close the gate."""


@dataclass(frozen=True, slots=True)
class OriginCall:
    """One request to Stripe, before it is sent.

    `critical` reads may use the reserve, as all writes may. `has_stale` says that a stale entry would do: then it does
    not wait, is not sent while Stripe seems to be down, and is given up early. `repeatable` is False where the SDK
    retries on its own.
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

    @property
    def yields(self) -> bool:
        """Whether a stale entry is to answer rather than that anybody waits long for this call."""
        return self.has_stale and not self.is_urgent


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
        passage = Passage(self, call)
        while True:
            pause = passage.enter()
            if pause:
                time.sleep(pause)
            passage.departs()
            try:
                with sending(passage):
                    raw = send()
            except Exception as error:
                if not passage.failed(error):
                    raise
            except BaseException:
                passage.gave_up()
                raise
            else:
                if not passage.answered(raw):
                    return raw

    async def call_async(self, call: OriginCall, send: Callable[[], Awaitable[Answered]]) -> Answered:
        """Do the same without blocking the event loop; a read that takes too long is cancelled with a TimeoutError."""
        import asyncio

        passage = Passage(self, call)
        while True:
            pause = await asyncio.to_thread(passage.enter)
            if pause:
                await asyncio.sleep(pause)
            passage.departs()
            try:
                with sending(passage):
                    if call.is_read:
                        async with asyncio.timeout(passage.timeout()):
                            raw = await send()
                    else:
                        raw = await send()
            except Exception as error:
                if not passage.failed(error):
                    raise
            except BaseException:
                passage.gave_up()
                raise
            else:
                # A refusal is told to Redis; everything else is arithmetic.
                refused = raw[1] == TOO_MANY
                again = await asyncio.to_thread(passage.answered, raw) if refused else passage.answered(raw)
                if not again:
                    return raw

    def read_timeout(self) -> float:
        """Return the seconds that a read which is sent now may take: the one being sent here, or else any."""
        repeats = under_way()
        return self.deadline.read_timeout() if repeats is None else repeats.passage.timeout()

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
