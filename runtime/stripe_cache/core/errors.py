"""Every error this package raises on its own account.

StripeCacheError
├── ConfigurationError        what the operator set cannot work
│   ├── SettingError          an environment value or Settings field
│   ├── PolicyError           a key or value of the policy overrides
│   └── TableError            the DynamoDB table is missing or has other keys
├── RequestError              what the caller passed cannot be asked
│   ├── NotAnEventError       apply_event() was given something that is no Stripe event
│   ├── NotCachedError        only-if-cached was asked for, and nothing usable is stored
│   └── ReadOnlyError         a write through a process that may not void what it would change
├── TierError                 a tier could not do its work; the guard turns it into a miss
│   ├── CorruptEntryError     stored bytes are not an entry of ours
│   ├── TierFullError         no room for more; what is there is served all the same
│   ├── TierBusyError         other threads kept it busy for too long; nothing is known of how it is
│   ├── TierPartError         a part of the tier is away, as was known; the rest of it answers
│   ├── TierThrottledError    more is asked than it was given capacity for, this second
│   └── KeyUnavailableError   no data key to seal or open an entry with, for now
├── RateLimitedError          Stripe's limits leave no room for this call within its patience
├── OriginUnavailableError    Stripe has failed repeatedly and is being left alone for a moment
│   └── NoTimeError           the invocation ends before Stripe can be expected to answer
└── InvalidationError         a shared tier could not be told; nothing may call the invalidation done

Stripe's own errors pass through unchanged: whoever catches stripe.StripeError today keeps doing so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


_NAMED = 5


class StripeCacheError(Exception):
    """Base of everything below; raised by nothing itself."""


class ConfigurationError(StripeCacheError):
    """The operator's configuration cannot work; the message names the value and the remedy."""


class SettingError(ConfigurationError):
    """An environment value or a Settings field is wrong."""


class PolicyError(ConfigurationError):
    """A policy override names an unknown type, an unknown field or an impossible value."""


class TableError(ConfigurationError):
    """The DynamoDB table is missing, or its keys are not the ones the tier needs."""


class RequestError(StripeCacheError):
    """The caller's argument cannot be turned into a request or a record."""


class NotAnEventError(RequestError):
    """The value is no snapshot event, thin event or EventBridge envelope of Stripe's."""


class NotCachedError(RequestError):
    """The caller allowed no origin call and no stored entry may answer."""


class ReadOnlyError(RequestError):
    """A write was refused before anything was sent: this process could not void what it would have changed."""


class TierError(StripeCacheError):
    """A tier could not do its work: it is slow, down, full, refusing or misconfigured."""


class CorruptEntryError(TierError):
    """Stored bytes do not decode to an entry of ours, or belong to another record."""


class TierFullError(TierError):
    """The tier has no room for what was to be added; it answers, and nobody need leave it alone."""


class RateLimitedError(StripeCacheError):
    """The call was not made: Stripe would have refused it, and its turn comes later than the caller can wait.

    `retry_after` is the number of seconds after which its turn would come. Clients raise a subclass that is a
    stripe.RateLimitError too.
    """

    def __init__(self, namespace: str, bucket: str, retry_after: float, patience: float) -> None:
        where = bucket or f"all of {namespace}"
        super().__init__(
            f"not sent: the rate limit of {where} leaves no room for {retry_after:.2f} s and this call can wait "
            f"{patience:.2f} s; ask less often, or raise STRIPE_CACHE_RATE_LIMITS if Stripe granted you more"
        )
        self.namespace = namespace
        self.bucket = bucket
        self.retry_after = retry_after


class OriginUnavailableError(StripeCacheError):
    """The call was not made: Stripe has just failed several times in a row, lastly as `last_failure` says.

    Only calls for which a stale entry can answer are held back. Clients raise a subclass that is a
    stripe.APIConnectionError too.
    """

    def __init__(self, host: str, last_failure: str) -> None:
        super().__init__(f"not sent: {host} has failed repeatedly, lastly with {last_failure}; it is tried again soon")
        self.host = host
        self.last_failure = last_failure


class NoTimeError(OriginUnavailableError):
    """The call was not made: too little of the invocation is left, and a stale entry can answer."""

    def __init__(self, host: str) -> None:
        StripeCacheError.__init__(
            self, f"not sent: the invocation ends before {host} can be expected to answer; give the function more time"
        )
        self.host = host
        self.last_failure = "none"


class TierPartError(TierError):
    """A part of the tier is known to be away and another part has answered since: nobody need leave all of it alone."""


class TierBusyError(TierError):
    """This process's other threads had all ways to the tier for too long: that says nothing about the tier."""


class TierThrottledError(TierError):
    """The tier lives, and refuses what is more than its capacity; that is counted by the second."""


class KeyUnavailableError(TierError):
    """KMS gives no data key right now: an entry stays unstored or unread, and is never kept in plain text instead."""


class InvalidationError(StripeCacheError):
    """At least one shared tier could not be told about an invalidation.

    `done` maps each tier that confirmed to the number of records it voided; `failed` maps each other tier to the
    reason. Until they are told, the tiers in `failed` may serve the old value. `queued` says that all of what is left
    is in a durable place, from which it is told to them when they can be reached.
    """

    def __init__(
        self, records: tuple[str, ...], done: Mapping[str, int], failed: Mapping[str, str], *, queued: bool = False
    ) -> None:
        reasons = "; ".join(f"{tier}: {reason}" for tier, reason in failed.items())
        more = f" and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
        # Without their queries: a list may have been filtered by whatever its caller knew of somebody.
        named = f"{', '.join(record.partition('?')[0] for record in records[:_NAMED])}{more}"
        remedy = "the rest is queued" if queued else "call it again"
        super().__init__(f"could not invalidate {named} in every tier ({reasons}): {remedy}")
        self.records = records
        self.done = dict(done)
        self.failed = dict(failed)
        self.queued = queued
