"""Policy: what may be cached and for how long, per object type. What the table does not list is not cached.

The table is `data/policy.json`, a reason in every row; `docs/policy.md` is made from it. Operators change rows with
overrides, but no override makes a type cacheable whose answers hold secrets.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stripe_cache.core import catalog
from stripe_cache.core.errors import PolicyError

if TYPE_CHECKING:
    from stripe_cache.core.catalog import Operation

LONGEST_TTL = 30 * 86400.0
HOT_SET_TTL = 3600.0
LISTS = "lists"
_TIMES = ("memory_ttl", "redis_ttl", "ttl", "ttl_with_events", "stale_window")
_FIELDS = ("cacheable", *_TIMES)


@dataclass(frozen=True, slots=True)
class Rule:
    """How long answers of one object type are kept; times in seconds."""

    object_type: str
    cacheable: bool
    memory_ttl: float
    redis_ttl: float
    """The most that Redis keeps, whichever TTL applies: it holds the hot set, DynamoDB the rest."""
    ttl: float
    """Fresh for this long where no events arrive."""
    ttl_with_events: float
    """Fresh for this long where events void what changes."""
    stale_window: float
    """How much longer an expired, never an invalidated, entry may answer when Stripe cannot."""
    reason: str
    secret: bool = False
    """Bypassed because answers hold secrets: no override may cache it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One rule per object type and one for lists; immutable, safe to share between threads."""

    types: Mapping[str, Rule]
    lists: Rule
    # Decided once per path template. Threads that come first together decide twice, and the same.
    _decided: dict[str, Rule | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    @staticmethod
    def default() -> Policy:
        """Return the policy as shipped; the table is read at the first call."""
        return _default()

    def with_overrides(self, overrides: Mapping[str, Any]) -> Policy:
        """Return a policy with some rows changed, such as `{"customer": {"ttl": 3600}, "price": {"cacheable": false}}`.

        A `ttl` given alone applies with events too. Raises PolicyError naming the key, and the nearest known name.
        """
        if not isinstance(overrides, Mapping):
            raise PolicyError(f"the policy overrides are a {type(overrides).__name__}: give an object of object types")
        types, lists = dict(self.types), self.lists
        for name, changes in overrides.items():
            if name == LISTS:
                lists = _overridden(lists, changes)
            elif name in types:
                types[name] = _overridden(types[name], changes)
            else:
                raise PolicyError(f"{_short(name)} is no object type of the policy{_nearest(name, [LISTS, *types])}")
        return Policy(MappingProxyType(types), lists)

    def rule(self, operation: Operation) -> Rule | None:
        """Find the rule for an operation's answers; None means bypass.

        An answer of several types gets the shortest times of them all, a list also no more than the row for lists.
        """
        if operation.method != "get" or operation.base != "api":
            return None
        if operation.path not in self._decided:
            self._decided[operation.path] = self._decide(operation)
        return self._decided[operation.path]

    def longest_life(self, *, events: bool) -> float:
        """Return the most seconds that any answer may be served after it was fetched, stale window included."""
        rules = [rule for rule in (*self.types.values(), self.lists) if rule.cacheable]
        return max(((rule.ttl_with_events if events else rule.ttl) + rule.stale_window for rule in rules), default=0.0)

    def _decide(self, operation: Operation) -> Rule | None:
        if operation.kind not in {"retrieve", "list", "singleton"} or not operation.objects:
            return None
        rules = [self.types.get(name) for name in operation.objects]
        if operation.kind == "list":
            rules.append(self.lists)
        known = [rule for rule in rules if rule is not None and rule.cacheable]
        if len(known) < len(rules):
            return None
        return known[0] if len(known) == 1 else _shortest("+".join(operation.objects), known)


@dataclass(frozen=True, slots=True)
class ForbiddenField:
    """A field of a body whose value makes the whole answer unstorable."""

    name: str
    value: str | None
    """A pattern that the text must match to count, or None: anything but null and emptiness counts."""
    reason: str


@functools.cache
def never_cached() -> frozenset[str]:
    """List the types whose answers are secret: no override, in whatever process, makes them cacheable."""
    return frozenset(name for name, rule in Policy.default().types.items() if rule.secret)


def is_never_cached(object_type: object) -> bool:
    """Tell whether it is the name of one of those types; false for whatever else a body holds there."""
    return isinstance(object_type, str) and object_type in never_cached()


@functools.cache
def forbidden_fields() -> Mapping[str, ForbiddenField]:
    """List the fields that must never be stored, by name."""
    rows = catalog.read("policy.json")["forbidden"]
    return MappingProxyType({name: ForbiddenField(name, row.get("value"), row["why"]) for name, row in rows.items()})


@functools.cache
def _default() -> Policy:
    document = catalog.read("policy.json")
    types = {name: _row(name, row) for name, row in document["types"].items()}
    return Policy(MappingProxyType(types), _row(LISTS, document["lists"]))


def _row(name: str, row: Mapping[str, Any]) -> Rule:
    if "bypass" in row:
        return Rule(name, False, 0.0, 0.0, 0.0, 0.0, 0.0, row["reason"], secret=row["bypass"] == "secret")
    ttl, with_events = float(row["ttl"]), float(row["ttl_with_events"])
    hot = min(max(ttl, with_events), HOT_SET_TTL)
    return Rule(name, True, float(row["memory_ttl"]), hot, ttl, with_events, float(row["stale_window"]), row["reason"])


def _shortest(object_type: str, rules: list[Rule]) -> Rule:
    times = {field: min(getattr(rule, field) for rule in rules) for field in _TIMES}
    return Rule(object_type, True, reason="; ".join(dict.fromkeys(rule.reason for rule in rules)), **times)


def _overridden(rule: Rule, changes: object) -> Rule:
    name = rule.object_type
    if not isinstance(changes, Mapping):
        raise PolicyError(f"{name} is a {type(changes).__name__}: give an object such as {{'ttl': 3600}}")
    for key in changes:
        if key not in _FIELDS:
            raise PolicyError(f"{name}.{key} is no field of the policy{_nearest(key, _FIELDS)}")
    cacheable = changes.get("cacheable", rule.cacheable)
    if not isinstance(cacheable, bool):
        raise PolicyError(f"{name}.cacheable is {_short(cacheable)}: give true or false")
    if cacheable and rule.secret:
        raise PolicyError(f"{name}.cacheable cannot be true: {rule.reason}, and secrets are never stored")
    if not cacheable:
        return replace(rule, cacheable=False)
    return _retimed(rule, {field: _time(f"{name}.{field}", changes[field]) for field in _TIMES if field in changes})


def _retimed(rule: Rule, given: Mapping[str, float]) -> Rule:
    """Apply the given times; those that follow from them and were not given themselves move along."""
    name = rule.object_type
    ttl = given.get("ttl", rule.ttl)
    with_events = given.get("ttl_with_events", ttl if "ttl" in given else rule.ttl_with_events)
    longest = max(ttl, with_events)
    if longest == 0:
        raise PolicyError(f"{name}.ttl is 0: give the seconds to cache it for, or set {name}.cacheable to false")
    if ttl == 0:
        raise PolicyError(f"{name}.ttl is missing: without events nothing else says how long to cache it")
    for key, most in (("memory_ttl", min(ttl, with_events)), ("redis_ttl", longest)):
        if given.get(key, 0.0) > most:
            raise PolicyError(f"{name}.{key} is {given[key]:g}, longer than the type's TTL {most:g}: lower it")
    return replace(
        rule,
        cacheable=True,
        ttl=ttl,
        ttl_with_events=with_events,
        memory_ttl=given.get("memory_ttl", min(rule.memory_ttl, ttl, with_events)),
        redis_ttl=given.get("redis_ttl", min(longest, HOT_SET_TTL)),
        stale_window=given.get("stale_window", rule.stale_window),
    )


def _time(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PolicyError(f"{key} is {_short(value)}: give a number of seconds")
    if isinstance(value, float) and not isfinite(value):
        raise PolicyError(f"{key} is {value}: give a number of seconds")
    if not 0 <= value <= LONGEST_TTL:
        raise PolicyError(f"{key} is {_short(value)}: give 0 to {LONGEST_TTL:.0f} seconds (30 days)")
    return float(value)


def _nearest(name: object, known: Any) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f": did you mean {close[0]!r}?" if close else f": there are {', '.join(sorted(known)[:8])} and others"


def _short(value: object) -> str:
    if isinstance(value, str):
        return ascii(value[:60])
    if isinstance(value, int) and abs(value) > LONGEST_TTL * 1000:
        return "a huge number"
    return ascii(value)[:60]
