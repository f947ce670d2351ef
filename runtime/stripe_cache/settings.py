"""The operator's settings, and the one place that reads the environment."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

from stripe_cache.core.errors import SettingError
from stripe_cache.core.key import validate_label
from stripe_cache.core.rate_limits import RateLimits

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "STRIPE_CACHE_"
STRIPE_API = "https://api.stripe.com"
_WORDS = {"on": True, "true": True, "1": True, "live": True, "off": False, "false": False, "0": False, "test": False}
_TABLE_NAME = (3, 255)
_LARGEST_MEMORY = 10 * 1024**3
"""The largest Lambda has 10,240 MB."""

_LONGEST = 60
_LONGEST_NEGATIVE = 5
_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?")
_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "bool | None": (bool, NoneType),
    "int": (int,),
    "float": (float, int),
    "Mapping[str, Any]": (Mapping,),
    "Mapping[str, Any] | None": (Mapping, NoneType),
}
_KMS_KEYS = re.compile(r"[A-Za-z0-9:/_-]{1,512}(?:,[A-Za-z0-9:/_-]{1,512})?")

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a cache is built from. Every field can be given here or by the environment variable in its comment.

    Raises SettingError for a value that cannot work.
    """

    namespace: str = "default"
    """STRIPE_CACHE_NAMESPACE: the account behind your keys. Required with a shared tier. Best its acct_... id: no other
    label tells it from a connected account where an event or a Stripe-Context names it."""
    livemode: bool | None = None
    """STRIPE_CACHE_LIVEMODE: serve keys of this mode only. None serves both, each in a namespace of its own."""
    redis_url: str = field(default="", repr=False)
    """STRIPE_CACHE_REDIS_URL: redis://, rediss://, redis+cluster:// or rediss+cluster://; empty for no Redis tier.

    A cluster's names several nodes, redis+cluster://h1:6379,h2:6379, or the one name that leads to all of them.
    """
    table: str = ""
    """STRIPE_CACHE_TABLE: the DynamoDB table's name or ARN; empty for no DynamoDB tier."""
    policy: Mapping[str, Any] = field(default_factory=dict)
    """STRIPE_CACHE_POLICY: overrides of the policy table, as JSON or as the path of a JSON file."""
    memory_max_bytes: int = 32 * 1024 * 1024
    """STRIPE_CACHE_MEMORY_MAX_BYTES: what the memory tier may take; 0 turns it off."""
    memory_max_lag: float = 1.0
    """STRIPE_CACHE_MEMORY_MAX_LAG: seconds the memory tier may be behind an acknowledged invalidation."""
    events: bool = False
    """STRIPE_CACHE_EVENTS: on when Stripe's events reach this cache; picks the longer TTLs."""
    api_key_secret: str = field(default="", repr=False)
    """STRIPE_CACHE_API_KEY_SECRET: Secrets Manager id of the handlers' Stripe key."""
    webhook_secret: str = field(default="", repr=False)
    """STRIPE_CACHE_WEBHOOK_SECRET: Secrets Manager id of the webhook signing secret or secrets."""
    api_base: str = STRIPE_API
    """STRIPE_CACHE_API_BASE: where Stripe's API is; other hosts are never cached."""
    stage: str = ""
    """STRIPE_CACHE_STAGE: a dimension of every metric."""
    invalidation_queue_url: str = ""
    """STRIPE_CACHE_INVALIDATION_QUEUE_URL: SQS queue for invalidations that could not be done at once."""
    fingerprint_secret: str = field(default="", repr=False)
    """STRIPE_CACHE_FINGERPRINT_SECRET: keys the fingerprints of credentials; by default the namespace does."""
    shared_scope: str = ""
    """STRIPE_CACHE_SHARED_SCOPE: a name under which all secret keys (sk_) share entries. Empty: no two keys share."""
    redis_timeout: float = 0.06
    """STRIPE_CACHE_REDIS_TIMEOUT: seconds for connecting and for one command. A hit takes under 1 ms; one that takes 60
    is no help, and Redis and DynamoDB both hanging must not cost a call more than 150 ms."""
    dynamodb_timeout: float = 0.08
    """STRIPE_CACHE_DYNAMODB_TIMEOUT: seconds for connecting and for one read; see redis_timeout."""
    origin_timeout: float = 10.0
    """STRIPE_CACHE_ORIGIN_TIMEOUT: seconds for one read of Stripe, less near the end of a Lambda invocation. The SDK's
    80 would outlive most invocations; writes keep them, because a write that was given up may have been done."""
    origin_wait: float = 2.0
    """STRIPE_CACHE_ORIGIN_WAIT: seconds a call waits for its turn under Stripe's rate limits, outside Lambda."""
    rate_limits: Mapping[str, Any] | None = field(default_factory=dict)
    """STRIPE_CACHE_RATE_LIMITS: off (None), or JSON that changes the limits, such as {"live": 500, "processes": 20}."""
    refresh_queue_url: str = ""
    """STRIPE_CACHE_REFRESH_QUEUE_URL: SQS queue for refreshes; set, a stale entry is served while it is renewed."""
    refresh_hot: bool = False
    """STRIPE_CACHE_REFRESH_HOT: on to have objects that are read often refreshed after an event voided them. Needs
    Redis and the refresh queue, and costs a read of Stripe per hot object and event."""
    negative_ttl: float = 0.0
    """STRIPE_CACHE_NEGATIVE_TTL: seconds to keep a 404, at most 5. 0: every 404 is Stripe's own."""
    read_only: bool = False
    """STRIPE_CACHE_READ_ONLY: on for a process that may read the shared tiers and never change them. Its writes to
    Stripe are refused (ReadOnlyError): what they changed could not be voided."""
    audit_rate: float = 0.0
    """STRIPE_CACHE_AUDIT_RATE: the share of hits that are compared with Stripe's answer of the moment, such as 0.0001;
    at most 6 a minute and process. 0 for none."""
    kms_key: str = ""
    """STRIPE_CACHE_KMS_KEY: KMS key (id or ARN) to encrypt shared entries with, or `new,old` while one replaces the
    other. Empty: entries are not encrypted by this package."""
    max_body_bytes: int = 1024 * 1024
    """STRIPE_CACHE_MAX_BODY_BYTES: larger answers are served but not stored."""

    def __post_init__(self) -> None:
        for one in fields(self):
            kind, value = _KINDS[str(one.type)], getattr(self, one.name)
            # True is an int to Python, and no number of bytes to anybody.
            if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
                names = " or ".join(sorted(each.__name__ for each in kind))
                raise SettingError(f"{_name(one.name)} is a {type(value).__name__}: give {names}")
        validate_label(self.namespace, _name("namespace"))
        if (self.redis_url or self.table) and self.namespace == "default":
            raise SettingError(
                f"{_name('namespace')} is not set: a shared tier tells accounts apart by it. Set it to the id of "
                "the Stripe account behind your keys, such as acct_1Abc"
            )
        for name in ("memory_max_bytes", "max_body_bytes"):
            fits = 0 <= getattr(self, name) <= _LARGEST_MEMORY
            self._demand(name, fits, f"use whole bytes from 0 to {_LARGEST_MEMORY}")
        for name in ("memory_max_lag", "redis_timeout", "dynamodb_timeout", "origin_timeout", "origin_wait"):
            fits = math.isfinite(getattr(self, name)) and 0 <= getattr(self, name) <= _LONGEST
            self._demand(name, fits, f"use seconds from 0 to {_LONGEST}, such as 0.5")
        self._demand("audit_rate", 0 <= self.audit_rate <= 1, "use a share from 0 to 1, such as 0.0001")
        self._demand("redis_timeout", self.redis_timeout > 0, "use more than 0 seconds")
        self._demand("dynamodb_timeout", self.dynamodb_timeout > 0, "use more than 0 seconds")
        self._demand("origin_timeout", self.origin_timeout > 0, "use more than 0 seconds")
        self._demand("negative_ttl", 0 <= self.negative_ttl <= _LONGEST_NEGATIVE, "use 0 (off) to 5 seconds")
        fits = not self.refresh_hot or bool(self.redis_url and self.refresh_queue_url)
        self._demand("refresh_hot", fits, "it needs STRIPE_CACHE_REDIS_URL and STRIPE_CACHE_REFRESH_QUEUE_URL, or off")
        if self.rate_limits is not None:
            RateLimits().with_overrides(self.rate_limits)
        if self.table and not self.table.startswith("arn:"):
            length_fits = _TABLE_NAME[0] <= len(self.table) <= _TABLE_NAME[1]
            plain = self.table.isascii() and self.table.replace("-", "").replace("_", "").replace(".", "").isalnum()
            self._demand(
                "table", length_fits and plain, "use the name (3 to 255 of a-z A-Z 0-9 _ - .) or the ARN of a table"
            )
        scheme, separator, host = self.api_base.partition("://")
        self._demand(
            "api_base",
            bool(separator) and scheme in {"http", "https"} and _HOST.fullmatch(host) is not None,
            f"use scheme and host without a path, such as {STRIPE_API}",
        )
        self._demand(
            "kms_key",
            not self.kms_key or _KMS_KEYS.fullmatch(self.kms_key) is not None,
            "use the id or ARN of a KMS key, or two of them with a comma: the new one, then the old one",
        )
        if self.shared_scope:
            validate_label(self.shared_scope, _name("shared_scope"))

    def _demand(self, name: str, fits: bool, remedy: str) -> None:  # noqa: FBT001 (an assertion's subject)
        if not fits:
            raise SettingError(f"{_name(name)} is {getattr(self, name)!r}: {remedy}")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read STRIPE_CACHE_* and nothing else; raises SettingError for a bad value and for an unknown name."""
        environ = os.environ if environ is None else environ
        known = {_name(one.name): one.name for one in fields(cls)}
        found: dict[str, Any] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX):
                continue
            name = known.get(variable)
            if name is None:
                # Without the prefix, which alone would make any two names look close.
                near = difflib.get_close_matches(variable.removeprefix(PREFIX).lower(), known.values(), 1)
                hint = f"did you mean {_name(near[0])}?" if near else f"known are {', '.join(sorted(known))}"
                raise SettingError(f"{variable} is no setting: {hint}")
            if text.strip():
                found[name] = _PARSERS.get(name, _text)(variable, text.strip())
        return cls(**found)


def _name(field_name: str) -> str:
    return PREFIX + field_name.upper()


def _text(_variable: str, text: str) -> str:
    return text


def _switch(variable: str, text: str) -> bool:
    if text.lower() not in _WORDS:
        raise SettingError(f"{variable} is {text!r}: use on or off")
    return _WORDS[text.lower()]


def _number(kind: Callable[[str], Value], example: str) -> Callable[[str, str], Value]:
    def parse(variable: str, text: str) -> Value:
        try:
            return kind(text)
        except ValueError:
            raise SettingError(f"{variable} is {text!r}: use a number such as {example}") from None

    return parse


def _limits(variable: str, text: str) -> Mapping[str, Any] | None:
    if text.lower() == "off":
        return None
    try:
        decoded = json.loads(text)
    except ValueError as error:
        raise SettingError(f'{variable} is neither off nor JSON ({error}): use such as {{"live": 500}}') from None
    if not isinstance(decoded, dict):
        raise SettingError(f"{variable} is a JSON {type(decoded).__name__}: use off, or an object of limits")
    return decoded


def _overrides(variable: str, text: str) -> Mapping[str, Any]:
    source = text
    if not text.startswith("{"):
        try:
            source = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise SettingError(
                f"{variable} names the file {text!r}, which cannot be read ({error}): give a path or JSON"
            ) from None
    try:
        decoded = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise SettingError(
            f'{variable} is no JSON ({error}): use an object such as {{"customer": {{"ttl": 3600}}}}'
        ) from None
    if not isinstance(decoded, dict):
        raise SettingError(f"{variable} is a JSON {type(decoded).__name__}: use an object keyed by object type")
    return decoded


_PARSERS: Mapping[str, Callable[[str, str], Any]] = {
    "livemode": _switch,
    "events": _switch,
    "read_only": _switch,
    "refresh_hot": _switch,
    "policy": _overrides,
    "memory_max_bytes": _number(int, "33554432"),
    "max_body_bytes": _number(int, "1048576"),
    "audit_rate": _number(float, "0.0001"),
    "memory_max_lag": _number(float, "1.0"),
    "redis_timeout": _number(float, "0.06"),
    "dynamodb_timeout": _number(float, "0.08"),
    "origin_timeout": _number(float, "10"),
    "origin_wait": _number(float, "2"),
    "rate_limits": _limits,
    "negative_ttl": _number(float, "2"),
}
