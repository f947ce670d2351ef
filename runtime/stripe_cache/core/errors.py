"""Every error this package raises on its own account.

StripeCacheError
├── ConfigurationError        what the operator set cannot work
│   ├── SettingError          an environment value or Settings field
│   ├── PolicyError           a key or value of the policy overrides
│   └── TableError            the DynamoDB table is missing or has other keys
├── RequestError              what the caller passed cannot be asked
│   ├── NotAnEventError       apply_event() was given something that is no Stripe event
│   └── NotCachedError        only-if-cached was asked for, and nothing usable is stored
├── TierError                 a tier could not do its work; the guard turns it into a miss
│   ├── CorruptEntryError     stored bytes are not an entry of ours
│   └── KeyUnavailableError   no data key to seal or open an entry with, for now
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


class TierError(StripeCacheError):
    """A tier could not do its work: it is slow, down, full, refusing or misconfigured."""


class CorruptEntryError(TierError):
    """Stored bytes do not decode to an entry of ours, or belong to another record."""


class KeyUnavailableError(TierError):
    """KMS gives no data key right now: an entry stays unstored or unread, and is never kept in plain text instead."""


class InvalidationError(StripeCacheError):
    """At least one shared tier could not be told about an invalidation.

    `done` maps each tier that confirmed to the number of records it voided; `failed` maps each other tier to the
    reason. Until a retry succeeds, the tiers in `failed` may serve the old value.
    """

    def __init__(self, records: tuple[str, ...], done: Mapping[str, int], failed: Mapping[str, str]) -> None:
        reasons = "; ".join(f"{tier}: {reason}" for tier, reason in failed.items())
        more = f" and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
        named = f"{', '.join(records[:_NAMED])}{more}"
        super().__init__(f"could not invalidate {named} in every tier ({reasons}): call it again")
        self.records = records
        self.done = dict(done)
        self.failed = dict(failed)
