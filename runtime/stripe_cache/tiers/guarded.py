"""A guard around any tier: a failed read is a miss, failures are counted, and a sick tier is left alone for a while."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from stripe_cache.core.breaker import Breaker
from stripe_cache.core.errors import (
    ConfigurationError,
    TierBusyError,
    TierError,
    TierFullError,
    TierPartError,
    TierThrottledError,
)
from stripe_cache.core.metrics import TIER_ERROR, TIER_OPEN
from stripe_cache.core.ports import NO_HOLD, Counter, HoldChange, Reading
from stripe_cache.core.sealing import UNSEALED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.entry import Stored
    from stripe_cache.core.key import Key
    from stripe_cache.core.ports import Claim, Meter, Slot, Stamp, State, StoreOutcome, Tier
    from stripe_cache.core.sealing import Sealer

Asked = ParamSpec("Asked")
Told = TypeVar("Told")

log = logging.getLogger("stripe_cache")

_WAITED = 0.25
"""The share of the deadline after which a failure was a wait: a step's deadline is three of its client's timeouts."""


class GuardedTier:
    """Another tier, made safe to ask.

    `read` never raises: a failure is a miss. The other steps raise TierError, whatever the tier raised, and without
    asking it while the breaker is open; only an invalidation (`void`, `count` with a number) is always tried, because
    nobody may be told it is done when it is not. `deadline` (seconds) is what one step may take: the tier's own
    client enforces it on the wire, the guard counts a step that took longer as a failure although its answer is used.
    What the step waited for `sealer`'s keys does not count: a slow KMS is no reason to leave the tier alone. While
    `has_time` says no, only invalidations are tried, and nothing is held against the tier.
    """

    def __init__(
        self,
        tier: Tier,
        deadline: float,
        clock: Clock,
        meter: Meter,
        sealer: Sealer = UNSEALED,
        *,
        has_time: Callable[[], bool] | None = None,
    ) -> None:
        self.name = tier.name
        self._tier = tier
        self._waited = sealer.waited
        self._deadline = deadline
        self._clock = clock
        self._meter = meter
        self._breaker = Breaker(clock)
        self._has_time = has_time
        self._complained = False

    @property
    def is_open(self) -> bool:
        """Whether the tier is being left alone."""
        return self._breaker.is_open

    @property
    def is_resting(self) -> bool:
        """Whether the tier is being left alone and no probe of it is due yet."""
        return self._breaker.is_resting

    @property
    def is_partly_away(self) -> bool:
        """Whether parts of the tier are away, or due to be asked again."""
        cluster = getattr(self._tier, "cluster", None)
        return cluster is not None and cluster.is_partly_away

    @property
    def is_partly_resting(self) -> bool:
        """Whether parts of the tier are away and not due to be asked."""
        cluster = getattr(self._tier, "cluster", None)
        return cluster is not None and cluster.is_partly_resting

    def read(self, namespace: str, slots: Sequence[Slot]) -> list[Reading]:
        """Read, or find nothing."""
        try:
            return self._ask(self._tier.read, namespace, slots)
        except TierError:
            return [Reading(None, None)] * len(slots)

    def touch(self, namespace: str, records: Sequence[str], token: str, ttl: float) -> tuple[list[State], Counter]:
        """Touch, or raise TierError."""
        return self._ask(self._tier.touch, namespace, records, token, ttl)

    def settle(self, namespace: str, generations: Sequence[tuple[str, str]], stamp: Stamp) -> None:
        """Settle, or raise TierError."""
        self._ask(self._tier.settle, namespace, generations, stamp)

    def store(self, key: Key, generation: str, stored: Stored, ttl: float) -> StoreOutcome:
        """Store, or raise TierError."""
        return self._ask(self._tier.store, key, generation, stored, ttl)

    def void(self, namespace: str, records: Sequence[str], token: str, change: HoldChange = NO_HOLD) -> list[str]:
        """Void, or raise TierError; tried even while the breaker is open."""
        return self._insist(self._tier.void, namespace, records, token, change)

    def count(self, namespace: str, *, started: int = 0, finished: int = 0) -> Counter:
        """Count, or raise TierError; an addition is tried even while the breaker is open."""
        send = self._insist if started or finished else self._ask
        return send(self._tier.count, namespace, started=started, finished=finished)

    def claim(self, key: Key, generation: str, token: str, seconds: float) -> Claim:
        """Claim, or raise TierError."""
        return self._ask(self._tier.claim, key, generation, token, seconds)

    def release(self, key: Key, generation: str, token: str, seconds: float) -> None:
        """Release, or raise TierError."""
        self._ask(self._tier.release, key, generation, token, seconds)

    def _ask(self, step: Callable[Asked, Told], *arguments: Asked.args, **options: Asked.kwargs) -> Told:
        if self._has_time is not None and not self._has_time():
            raise TierError(f"{self.name}: not asked, the invocation is about to end")
        if not self._breaker.admits():
            raise TierError(f"{self.name}: left alone after failures")
        return self._insist(step, *arguments, **options)

    def _insist(self, step: Callable[Asked, Told], *arguments: Asked.args, **options: Asked.kwargs) -> Told:
        began, waited = self._clock.monotonic(), self._waited()
        try:
            told = step(*arguments, **options)
        except Exception as error:
            self._failed(error, began)
            if isinstance(error, TierError):
                raise
            # Only the kind of a stranger's error: its text may quote what it could not digest.
            said = str(error) if isinstance(error, ConfigurationError) else type(error).__name__
            raise TierError(f"{self.name}: {said}") from error
        if self._clock.monotonic() - began - (self._waited() - waited) > self._deadline:
            self._meter.count(TIER_ERROR, tier=self.name)
            self._open(was_slow=True)
        else:
            self._well()
        return told

    def _well(self) -> None:
        self._complained = False
        self._breaker.succeeded()

    def _failed(self, error: Exception, began: float) -> None:
        self._meter.count(TIER_ERROR, tier=self.name)
        if isinstance(error, TierFullError | TierPartError):
            self._well()
            return
        if isinstance(error, TierBusyError):
            # Threads of our own are no sign that it is sick, nor that it is well.
            return
        # A wrong table or URL will not mend itself: say it once an outage, as an error, and not at every call.
        if isinstance(error, ConfigurationError) and not self._complained:
            self._complained = True
            log.error("the %s tier is out of use: %s", self.name, error)
        was_slow = self._clock.monotonic() - began > self._deadline * _WAITED
        self._open(was_slow=was_slow, is_brief=isinstance(error, TierThrottledError))

    def _open(self, *, was_slow: bool, is_brief: bool = False) -> None:
        if self._breaker.failed(was_slow=was_slow, is_brief=is_brief):
            self._meter.count(TIER_OPEN, tier=self.name)
            log.warning("the %s tier is left alone for a while", self.name)
