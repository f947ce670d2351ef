"""Settings of the runtime that an operator may turn for all functions of a cache, or for one of them."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # What text becomes in overrides is read from the annotations.
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from stripe_cache_cdk.checks import check_json, check_mapping, check_match, check_range
from stripe_cache_cdk.errors import StageError

# Each option is read by the runtime from the variable of its name.
PREFIX = "STRIPE_CACHE_"
LARGEST_MEMORY = 10 * 1024**3
LONGEST_SECONDS = 60
LONGEST_NEGATIVE = 5
# Lambda gives a function 4 KB for all its variables.
LARGEST_POLICY = 2_048
LARGEST_LIMITS = 512


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """What the runtime shall do differently from its own defaults; None leaves those.

    `policy` overrides the policy table by object type: `{"price": {"ttl": 3600}}`. `memory_max_bytes` bounds the memory
    tier (0 turns it off), `memory_max_lag` is the seconds it may be behind an invalidation, `max_body_bytes` the
    largest answer that is stored. `redis_timeout` and `dynamodb_timeout` are seconds a call of the tier may take,
    `origin_timeout` the seconds of one read of Stripe, `origin_wait` those a read waits for its turn under Stripe's
    limits. `rate_limits` changes these limits (`{"live": 500, "processes": 20}`), or is `off`. `negative_ttl` is how
    many seconds, at most 5, a 404 is kept, `audit_rate` the share of hits compared with Stripe, `shared_scope` a name
    under which all secret keys share entries. Raises StageError for a value that the runtime would refuse.
    """

    policy: Mapping[str, Any] = field(default_factory=dict)
    memory_max_bytes: int | None = None
    memory_max_lag: float | None = None
    max_body_bytes: int | None = None
    redis_timeout: float | None = None
    dynamodb_timeout: float | None = None
    origin_timeout: float | None = None
    origin_wait: float | None = None
    rate_limits: Mapping[str, Any] | Literal["off"] | None = None
    negative_ttl: float | None = None
    audit_rate: float | None = None
    shared_scope: str = ""

    def __post_init__(self) -> None:
        check_mapping("policy", self.policy, "object types to overrides")
        if self.rate_limits is not None and self.rate_limits != "off":
            check_mapping("rate_limits", self.rate_limits, "limits to calls per second, or 'off'")
        for name in ("memory_max_bytes", "max_body_bytes"):
            self._check(name, 0, LARGEST_MEMORY, "bytes", whole=True)
        for name in ("memory_max_lag", "origin_wait"):
            self._check(name, 0, LONGEST_SECONDS, "seconds")
        self._check("negative_ttl", 0, LONGEST_NEGATIVE, "seconds (0 keeps no 404)")
        for name in ("redis_timeout", "dynamodb_timeout", "origin_timeout"):
            self._check(name, 0.001, LONGEST_SECONDS, "seconds")
        self._check("audit_rate", 0, 1, "(the share of hits)")
        check_match("shared_scope", self.shared_scope, r"[A-Za-z0-9_-]{0,64}", "at most 64 letters, digits, - and _")
        policy = check_json("policy", self.policy, "object types to overrides")
        if len(policy) > LARGEST_POLICY:
            raise StageError(
                f"policy takes {len(policy)} bytes and the environment has room for {LARGEST_POLICY}: put it into a "
                f"file of the package, and its path into {PREFIX}POLICY"
            )
        if len(self._limits()) > LARGEST_LIMITS:
            raise StageError(
                f"rate_limits takes {len(self._limits())} bytes and the environment has room for {LARGEST_LIMITS}: "
                "give the endpoints that matter"
            )

    def variables(self) -> dict[str, str]:
        """Return the environment that says all this."""
        told = {option.name: getattr(self, option.name) for option in fields(self)} | {
            "policy": check_json("policy", self.policy, "object types to overrides"),
            "rate_limits": self._limits(),
        }
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in told.items() if value not in {None, ""}}

    def _limits(self) -> str:
        if self.rate_limits == "off":
            return "off"
        return check_json("rate_limits", self.rate_limits or {}, "names of limits to calls per second")

    def _check(self, name: str, low: float, high: float, unit: str, *, whole: bool = False) -> None:
        value = getattr(self, name)
        if value is not None:
            check_range(name, value, low, high, unit, whole=whole)
