"""The face of the library: one object that makes clients, reads, and invalidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stripe_cache.core import directives, query
from stripe_cache.core.answer import Answer
from stripe_cache.core.errors import NotCachedError, RequestError
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.records import records_named
from stripe_cache.settings import Settings
from stripe_cache.wiring import build, make_purge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import stripe

    from stripe_cache.core.allocation import ReadAllocation
    from stripe_cache.core.engine import Engine
    from stripe_cache.core.events import Affected
    from stripe_cache.core.purge import PurgeReport
    from stripe_cache.plain_origin import PlainOrigin

_SHOWN = 80
_FIRST_ERROR = 400


class StripeCache:
    """A read-through cache in front of Stripe: memory, Redis, DynamoDB, then Stripe. Thread-safe; make one per process.

    Nothing connects before the first use. A sick tier never makes a read fail: it is slower, at worst as slow as
    Stripe.
    """

    def __init__(self, settings: Settings | None = None, *, engine: Engine | None = None) -> None:
        self.settings = settings or Settings()
        self.engine = engine or build(self.settings)
        self._inner: stripe.HTTPClient | None = None

    @classmethod
    def from_env(cls) -> StripeCache:
        """Build from STRIPE_CACHE_* alone; raises SettingError or PolicyError for what cannot work."""
        return cls(Settings.from_env())

    def client(self, api_key: str, **options: Any) -> stripe.StripeClient:
        """Return an ordinary `stripe.StripeClient` whose reads are cached and whose writes invalidate.

        Every option of StripeClient passes through; an `http_client` given here is the one that the cache wraps.
        """
        import stripe

        from stripe_cache.http_client import default_inner

        inner = options.pop("http_client", None)
        if inner is None:
            # StripeClient refuses these two beside a client of one's own, so the inner one gets them.
            proxy, verify = options.pop("proxy", None), options.pop("verify_ssl_certs", True)
            inner = default_inner(self.engine, proxy=proxy, verify=verify)
        bases: Any = {"api": self.settings.api_base, **(options.pop("base_addresses", None) or {})}
        self.engine.planner.serve(bases["api"])
        return stripe.StripeClient(api_key, http_client=self.http_client(inner), base_addresses=bases, **options)

    def http_client(self, inner: stripe.HTTPClient | None = None) -> stripe.HTTPClient:
        """Return a `stripe.HTTPClient` around another one, for StripeClient or `stripe.default_http_client`."""
        from stripe_cache.http_client import CachingHTTPClient, default_inner

        return CachingHTTPClient(self.engine, inner or default_inner(self.engine))

    def get(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        api_key: str,
        stripe_account: str = "",
        stripe_context: str = "",
        stripe_version: str = "",
        cache_control: str = "",
    ) -> Answer:
        """Read one path as plain JSON; `stripe` is imported only when Stripe must be asked.

        Raises what the SDK would raise (stripe.StripeError), RequestError for a path or directive that cannot be
        asked, and NotCachedError for an unsatisfiable only-if-cached.
        """
        request = self._request(path, params, (api_key, stripe_account, stripe_context, stripe_version))
        return self._read(request, directives.parse(cache_control) if cache_control else directives.NONE)

    def get_many(
        self,
        requests: Sequence[str | tuple[str, Mapping[str, Any]]],
        *,
        api_key: str,
        stripe_account: str = "",
        stripe_context: str = "",
        stripe_version: str = "",
        cache_control: str = "",
    ) -> list[Answer]:
        """Read many paths, or (path, params) pairs: one round trip per tier for all of them, then Stripe for the rest.

        Answers come in the order asked. Raises as `get` does, for the first one that fails.
        """
        wishes = directives.parse(cache_control) if cache_control else directives.NONE
        identity = (api_key, stripe_account, stripe_context, stripe_version)
        asked = [
            self._request(one, None, identity) if isinstance(one, str) else self._request(one[0], one[1], identity)
            for one in requests
        ]
        plans = [None if wishes.no_store else self.engine.planner.plan(request) for request in asked]
        cached = [plan for plan in dict.fromkeys(plans) if isinstance(plan, Plan)]
        looked = dict(zip(cached, self.engine.reads.look(cached, wishes), strict=True)) if cached else {}
        answers: list[Answer] = []
        for request, plan in zip(asked, plans, strict=True):
            step = looked.get(plan) if isinstance(plan, Plan) else None
            if isinstance(plan, Plan) and step is not None and not isinstance(step, Answer):
                step = looked[plan] = self._origin(request).embark(plan, step, wishes)
            if isinstance(step, Answer):
                # A 404 may have been kept; whoever gets it shall see the SDK's error.
                answers.append(step if step.http_status < _FIRST_ERROR else self._origin(request).checked(step))
            else:
                answers.append(self._read(request, wishes))
        return answers

    def invalidate(self, name: str, *, account: str | None = None, livemode: bool | None = None) -> dict[str, int]:
        """Void an object (`cus_1`), a collection (`/v1/prices`) or a path in every tier; return what each was told.

        `account` is a connected account's id, None the operator's own. Raises RequestError for what names nothing, and
        InvalidationError if a shared tier could not be told: until a retry succeeds it may serve the old value.
        """
        return self.engine.invalidate(records_named(name), account=account, livemode=livemode)

    def apply_event(self, event: Mapping[str, Any]) -> Affected:
        """Void what a snapshot event, thin event or EventBridge envelope says has changed; its body is never stored.

        The event must have been verified. Raises NotAnEventError, and InvalidationError as `invalidate` does.
        """
        if not isinstance(event, Mapping) and hasattr(event, "to_dict"):
            # What the SDK's construct_event returns.
            event = event.to_dict()
        return self.engine.apply(event)

    def purge(
        self,
        customer_id: str,
        *,
        account: str | None = None,
        terms: Sequence[str] = (),
        dry_run: bool = False,
        cursor: str = "",
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> PurgeReport:
        """Erase everything about a customer from every tier, and report; `dry_run` only reports.

        Searches the stores, which takes rights that reading does not (dynamodb:Scan and DeleteItem). `terms` are more
        to look for: an e-mail address, a name. Erase at Stripe first, or the next read brings it back. Stops after a
        page when `may_go_on` says no; the report's cursor goes on. Raises RequestError and InvalidationError.
        """
        purge = make_purge(self.settings, self.engine)
        namespaces = self.engine.planner.namespaces(account, livemode=None)
        if not namespaces:
            raise RequestError(f"{str(account)[:60]!r} is no Stripe account: it looks like acct_123")
        if account:
            # The platform may have read the customer's data inside answers of its own.
            own = self.engine.planner.namespaces(None, livemode=None)
            namespaces = tuple(dict.fromkeys((*namespaces, *own)))
        return purge.run(customer_id, namespaces, terms=terms, dry_run=dry_run, cursor=cursor, may_go_on=may_go_on)

    def begin_invocation(self, context: Any = None) -> None:
        """Make memory ask a shared tier before its next answer: call it at the start of a Lambda invocation.

        With the Lambda context, waiting for Stripe's rate limits, reading, and asking the tiers end before the
        invocation does.
        """
        self.engine.near.forget()
        self.engine.gate.deadline.begin(context)

    def warm(self) -> None:
        """Load boto3 and make the clients of DynamoDB, KMS and the queues now instead of on first use.

        It takes up to a second of processor time, which otherwise the first read without Redis pays, or the first
        write that a tier misses. Connects to none of them; outside Lambda boto3 may ask the machine for its
        credentials. Call it where nobody waits: while a sandbox initialises. Raises what boto3 does without a region.
        """
        self.engine.warm()

    def read_allocation(
        self, transactions: int | None = None, *, account: str | None = None, livemode: bool | None = None
    ) -> ReadAllocation:
        """Count the reads of Stripe in the last 30 days, against what Stripe allots for that many transactions.

        Without Redis or a table only this process's reads are known; `complete` says so.
        """
        gate, namespaces = self.engine.gate, self.engine.planner.namespaces(account, livemode=livemode)
        extra = (
            sum(gate.limiter.uncounted(one) for one in namespaces) if gate.limiter and gate.counted_by_limiter else 0
        )
        return gate.allocation.report(namespaces, transactions, extra)

    def _read(self, request: Request, wishes: directives.Directives) -> Answer:
        plan = None if wishes.no_store else self.engine.planner.plan(request)
        if not isinstance(plan, Plan):
            if wishes.only_if_cached:
                raise NotCachedError("such requests are never cached, and only-if-cached forbids a call")
            return self._origin(request).bypass(wishes)
        step = self.engine.reads.begin(plan, wishes, "sync")
        if isinstance(step, Answer):
            auditor = self.engine.auditor
            if auditor is not None and auditor.draws(step, wishes):
                return self._origin(request).audit(auditor, plan, step, wishes)
            # A 404 may have been kept; whoever gets it shall see the SDK's error.
            return step if step.http_status < _FIRST_ERROR else self._origin(request).checked(step)
        return self._origin(request).finish(plan, step, wishes)

    def _origin(self, request: Request) -> PlainOrigin:
        from stripe_cache.http_client import default_inner
        from stripe_cache.plain_origin import PlainOrigin

        # Two threads may both make one; either serves.
        self._inner = self._inner or default_inner(self.engine)
        return PlainOrigin(self.engine, self._inner, request)

    def _request(self, path: str, params: Mapping[str, Any] | None, identity: tuple[str, str, str, str]) -> Request:
        api_key, account, context, version = identity
        if not isinstance(path, str) or not path.startswith(("/v1/", "/v2/")) or not _is_plain(path) or " " in path:
            raise RequestError(
                f"{_shown(path)} is no path: it starts with /v1/ or /v2/ and has no spaces, control or non-ASCII "
                "characters (percent-encode those of an id)"
            )
        if not api_key or not _is_plain(api_key):
            raise RequestError("api_key must be a Stripe API key: sk_..., rk_...")
        if not all(_is_plain(one) for one in (account, context, version)):
            raise RequestError("stripe_account, stripe_context and stripe_version are printable ASCII texts, or empty")
        if not isinstance(params or {}, Mapping):
            raise RequestError(f"params is a {type(params).__name__}: give a dict of parameters, or None")
        path, _, given = path.partition("?")
        # What is sent is the canonical form: the key and the question cannot differ.
        text = query.canonical([*query.parse(given), *query.encode(params or {})]) if given or params else ""
        url = f"{self.settings.api_base}{path}{'?' if text else ''}{text}"
        return Request("get", url, api_key, account, context, version or self.engine.planner.api_version)


def _shown(path: object) -> str:
    """Quote a path without its query: a filter may be an e-mail address, and errors end up in logs."""
    shown = path.partition("?")[0] if isinstance(path, str) else path
    return f"{shown!r:.{_SHOWN}}"


def _is_plain(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and (text.isprintable() or not text)
