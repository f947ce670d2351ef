"""From a request to what the cache will do with it: key, lifetimes and record, or the reason to stay out of its way."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from stripe_cache.core import catalog, query
from stripe_cache.core.bounds import Lifetimes
from stripe_cache.core.errors import RequestError
from stripe_cache.core.key import Key, fingerprint, is_label, livemode_of, namespace_of, variant_of
from stripe_cache.core.reach import spread
from stripe_cache.core.records import gate, place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stripe_cache.core.policy import Policy, Rule

_CURSORS = frozenset({"starting_after", "ending_before", "page"})
_PLANS_KEPT = 4096


class Request(NamedTuple):
    """What tells two requests apart. `credential` is the API key itself: it stays inside this process."""

    method: str
    url: str
    credential: str
    account: str
    context: str
    version: str

    def __repr__(self) -> str:
        # A request may end up in a traceback or a log; the credential must not.
        return f"Request({self.method} {self.url.partition('?')[0]})"


class Target(NamedTuple):
    """What to ask Stripe for, without the credential to ask with."""

    url: str = ""
    account: str = ""
    context: str = ""
    version: str = ""


NO_TARGET = Target()


@dataclass(frozen=True, slots=True)
class Plan:
    """A request the cache may answer. `broad` are records its answer embeds whatever its body holds."""

    key: Key
    object_type: str
    lifetimes: Lifetimes
    broad: tuple[str, ...]
    target: Target = NO_TARGET
    bounds: Mapping[str, Lifetimes | None] = field(default_factory=dict, compare=False, repr=False)
    """How long each object type lives that may be inside the answer, None for one that must not be (`bounds.py`)."""


@dataclass(frozen=True, slots=True)
class Bypass:
    """A request the cache leaves alone, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose cache this is.

    `account` is the operator's label for the account behind a plain key. `livemode` None serves both modes, each
    request in the mode its key says. `shared_scope`, if set, is the name under which all secret keys (`sk_`) share
    entries: the explicit opt-in. Restricted keys (`rk_`) never share.
    """

    account: str
    livemode: bool | None
    fingerprint_secret: str
    api_bases: frozenset[str]
    shared_scope: str = ""


class Planner:
    """Plans requests; the same request is planned once per process and then remembered. Thread-safe."""

    def __init__(self, identity: Identity, policy: Policy, *, events: bool) -> None:
        self._identity = identity
        self._bases = set(identity.api_bases)
        self._policy = policy
        self._events = events
        self._bounds = MappingProxyType(
            {name: self._lifetimes(rule) if rule.cacheable else None for name, rule in policy.types.items()}
        )
        self.plan = lru_cache(maxsize=_PLANS_KEPT)(self._plan)
        self._fingerprint = lru_cache(maxsize=_PLANS_KEPT)(self._scope)

    @property
    def api_version(self) -> str:
        """The Stripe-Version that a plain read asks for: the catalog's, which is the installed SDK's."""
        return catalog.api_version()

    def serve(self, api_base: str) -> None:
        """Take another host for Stripe's API, because a client was made for it."""
        if api_base not in self._bases:
            self._bases.add(api_base)
            # Requests to that host may have been planned as bypass before.
            self.plan.cache_clear()

    @property
    def longest_life(self) -> float:
        """Seconds after which nothing that is cached now is served any more, whatever becomes of it."""
        return self._policy.longest_life(events=self._events)

    def namespaces(self, account: str | None, *, livemode: bool | None) -> tuple[str, ...]:
        """Name the namespaces a change concerns: of an account (None: the operator's own), in one mode or all (None).

        Empty when it is no concern of this cache: the other mode, or an account that cannot be one of Stripe's.
        """
        label = account or self._identity.account
        served = (True, False) if self._identity.livemode is None else (self._identity.livemode,)
        if not is_label(label):
            return ()
        return tuple(namespace_of(label, livemode=mode) for mode in served if livemode in {None, mode})

    def places(
        self, records: Iterable[str], account: str | None, *, livemode: bool | None, by_context: bool = False
    ) -> dict[str, tuple[str, ...]]:
        """Name the namespaces a change is told in, and which records are void in each (`reach.py`).

        `account` and `livemode` as for `namespaces`; `by_context` if a Stripe-Context, or an event's, named the
        account: that may be the operator's own.
        """
        if account and not is_label(account):
            return {}
        labels = spread(self._identity.account, account, records, unsure=by_context)
        return {
            namespace: named
            for label, named in labels.items()
            for namespace in self.namespaces(label, livemode=livemode)
        }

    def written(self, request: Request, records: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Name the namespaces in which a write is told, and which of the records it touches are void in each."""
        account = _account(request)
        return self.places(records, account, livemode=self._mode(request), by_context=not request.account)

    def repaired(self, plan: Plan, records: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Name where records are void that an answer was found to be wrong about, and which of them in each."""
        account, livemode = _account(plan.target), plan.key.namespace.endswith(".live")
        return self.places(records, account, livemode=livemode, by_context=not plan.target.account)

    def namespace_of(self, request: Request) -> str | None:
        """Name the namespace a request belongs to; None if its credential is of a mode that is not served."""
        return next(iter(self.namespaces(_account(request), livemode=self._mode(request))), None)

    def _mode(self, request: Request) -> bool:
        mode = livemode_of(request.credential)
        return bool(self._identity.livemode) if mode is None else mode

    def _plan(self, request: Request) -> Plan | Bypass:
        if not query.is_plain(request.url):
            return Bypass("url")
        parts = urlsplit(request.url)
        pairs = query.parse(parts.query)
        operation = catalog.match("get", parts.path)
        rule = self._policy.rule(operation) if operation else None
        namespace = self.namespace_of(request)
        refusals = {
            "method": request.method != "get",
            "host": f"{parts.scheme}://{parts.netloc}" not in self._bases,
            "unknown-path": operation is None,
            "policy": rule is None,
            "cursor": any(name.partition("[")[0] in _CURSORS for name, _ in pairs),
            "namespace": namespace is None,
        }
        reason = next((reason for reason, applies in refusals.items() if applies), "")
        if reason or operation is None or rule is None or namespace is None:
            return Bypass(reason)
        try:
            placement = place(operation, parts.path, pairs)
        except RequestError:
            return Bypass("id")
        variant = variant_of(
            self._fingerprint(request.credential),
            request.account,
            request.context,
            request.version,
            f"{parts.scheme}://{parts.netloc}",
            parts.path,
            query.canonical(pairs),
            # An entry made by other rules lacks names by which this version would void it: it is another variant.
            catalog.rules(),
        )
        account = _account(request)
        gates = (gate(account),) if account and account != self._identity.account else ()
        return Plan(
            Key.of(namespace, placement.record, variant, *gates),
            rule.object_type,
            self._lifetimes(rule),
            (*placement.embeds, *gates),
            Target(request.url, request.account, request.context, request.version),
            self._bounds,
        )

    def _lifetimes(self, rule: Rule) -> Lifetimes:
        fresh = rule.ttl_with_events if self._events else rule.ttl
        return Lifetimes(fresh, rule.stale_window, min(rule.memory_ttl, fresh), rule.redis_ttl)

    def _scope(self, credential: str) -> str:
        if self._identity.shared_scope and credential.startswith("sk_"):
            return f"scope:{self._identity.shared_scope}"
        return f"key:{fingerprint(credential, self._identity.fingerprint_secret)}"


def _account(request: Request | Target) -> str | None:
    """Name whom a request is made for: the innermost account of a context such as `org_1/acct_2`."""
    return request.account or request.context.rpartition("/")[2] or None
