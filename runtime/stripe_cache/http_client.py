"""The cache as a `stripe.HTTPClient` around another one.

The SDK calls `request_with_retries` and its siblings and nothing else, so that is where we stand: below the SDK's
objects and errors, above its retries. Overriding `request` instead would make the inherited retry loop take a hit for
a call of its own and report it to Stripe in the next request's telemetry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import stripe

from stripe_cache.core import directives, drive, metrics
from stripe_cache.core.answer import Response
from stripe_cache.core.cache_status import HEADER, CacheStatus
from stripe_cache.core.errors import NotCachedError
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.writing import Write, is_final, writing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stripe_cache.core.answer import Answer
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.engine import Engine

    Raw = tuple[Any, int, Mapping[str, str]]

_GATEWAY_TIMEOUT = 504
_NEVER = NotCachedError("such requests are never cached, and only-if-cached forbids a call")
_NOT_CACHED = b'{"error": {"type": "api_error", "message": "stripe-cache: %s"}}'


def default_inner(proxy: str | None = None, *, verify: bool = True) -> stripe.HTTPClient:
    """Return the HTTP client that StripeClient itself would use, its asynchronous half included."""
    # The one private name we use: without it StripeClient's own choice of an asynchronous library cannot be had.
    from stripe._http_client import new_http_client_async_fallback

    fallback = new_http_client_async_fallback(proxy=proxy, verify_ssl_certs=verify)
    return stripe.new_default_http_client(async_fallback_client=fallback, proxy=proxy, verify_ssl_certs=verify)


class CachingHTTPClient(stripe.HTTPClient):
    """Answers GETs from the cache, voids what writes touch, and passes everything else through untouched.

    Thread-safe as far as `inner` is. One instance serves any number of keys and accounts: what separates them travels
    in each request's headers.
    """

    def __init__(self, engine: Engine, inner: stripe.HTTPClient) -> None:
        super().__init__()
        self._engine = engine
        self.inner = inner
        # Reported to Stripe as the HTTP library in use: the truth is the one that sends.
        self.name = inner.name  # type: ignore[misc]  # a ClassVar for the SDK's own clients, read from the instance

    def request_with_retries(  # noqa: D102 (the SDK's contract)
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        post_data: Any = None,
        max_network_retries: int | None = None,
        *,
        _usage: list[str] | None = None,
    ) -> Raw:
        sent, wishes = _take_directives(headers)

        def send() -> Raw:
            return self.inner.request_with_retries(
                method, url, sent, post_data, max_network_retries=max_network_retries, _usage=_usage
            )

        plan = self._plan(method, url, sent, post_data, wishes)
        if isinstance(plan, Plan):
            try:
                return _raw(
                    drive.run(self._engine.reads, plan, wishes, lambda: _response(send()), self._engine.auditor)
                )
            except NotCachedError as error:
                return _not_cached(error)
        if plan is None:
            return _not_cached(_NEVER) if _is_hopeless(method, wishes) else self._pass(send(), wishes)
        with writing(plan, self._engine.clock) as answered:
            raw = send()
            if is_final(raw[1]):
                answered.append(raw[0])
        return raw

    async def request_with_retries_async(  # noqa: D102 (the SDK's contract)
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        post_data: Any = None,
        max_network_retries: int | None = None,
        *,
        _usage: list[str] | None = None,
    ) -> Raw:
        sent, wishes = _take_directives(headers)

        async def send() -> Raw:
            return await self.inner.request_with_retries_async(
                method, url, sent, post_data, max_network_retries=max_network_retries, _usage=_usage
            )

        async def origin() -> Response:
            return _response(await send())

        plan = self._plan(method, url, sent, post_data, wishes)
        if isinstance(plan, Plan):
            try:
                return _raw(await drive.run_async(self._engine.reads, plan, wishes, origin, self._engine.auditor))
            except NotCachedError as error:
                return _not_cached(error)
        if plan is None:
            return _not_cached(_NEVER) if _is_hopeless(method, wishes) else self._pass(await send(), wishes)
        # Until it is sent nothing can have been done: an empty answer, unlike none, takes the hold away again.
        body: Any = b""
        try:
            await drive.on_thread(plan.begin, self._engine.clock.now())
            body = None
            raw = await send()
            body = raw[0] if is_final(raw[1]) else None
        finally:
            # Done even if the caller is cancelled here, or was above while the hold was being put.
            await drive.on_thread(plan.end, body)
        return raw

    def request_stream_with_retries(
        self, method: str, url: str, headers: Mapping[str, str], *args: Any, **kwargs: Any
    ) -> Raw:
        """Pass through: streams are never cached."""
        return self.inner.request_stream_with_retries(method, url, _take_directives(headers)[0], *args, **kwargs)

    async def request_stream_with_retries_async(
        self, method: str, url: str, headers: Mapping[str, str], *args: Any, **kwargs: Any
    ) -> Raw:
        """Pass through: streams are never cached."""
        sent, _ = _take_directives(headers)
        return await self.inner.request_stream_with_retries_async(method, url, sent, *args, **kwargs)

    def request(self, method: str, url: str, headers: Mapping[str, str] | None, *args: Any, **kwargs: Any) -> Raw:
        """Pass through: one attempt, uncached. The SDK never calls this on the client it is given."""
        return self.inner.request(method, url, headers, *args, **kwargs)

    def request_stream(
        self, method: str, url: str, headers: Mapping[str, str] | None, *args: Any, **kwargs: Any
    ) -> Raw:
        """Pass through: one attempt, uncached."""
        return self.inner.request_stream(method, url, headers, *args, **kwargs)

    def close(self) -> None:
        """Close the inner client."""
        self.inner.close()  # type: ignore[no-untyped-call]  # the SDK leaves it unannotated

    async def close_async(self) -> None:
        """Close the inner client."""
        await self.inner.close_async()  # type: ignore[no-untyped-call]  # the SDK leaves it unannotated

    def _plan(
        self, method: str, url: str, headers: Mapping[str, str], form: Any, wishes: Directives
    ) -> Plan | Write | None:
        """Decide: a cached read, a write, or None for what is passed through."""
        # Headers given per call keep the caller's spelling, and `stripe-account` is an account like `Stripe-Account`.
        given = {name.lower(): value for name, value in headers.items()}
        request = Request(
            method.lower(),
            url,
            given.get("authorization", "").removeprefix("Bearer "),
            given.get("stripe-account", ""),
            given.get("stripe-context", ""),
            given.get("stripe-version", ""),
        )
        if request.method == "get":
            # One name in two spellings: which of them Stripe heeds depends on the HTTP library.
            unclear = len(given) < len(headers)
            plan = None if wishes.no_store or unclear else self._engine.planner.plan(request)
            return plan if isinstance(plan, Plan) else None
        namespace = self._engine.planner.namespace_of(request)
        if namespace is None:
            return None
        write = Write(self._engine.invalidator, namespace, request.method, url, form)
        return None if write.changes_nothing else write

    def _pass(self, raw: Raw, wishes: Directives) -> Raw:
        self._engine.meter.count(metrics.BYPASS)
        body, status, headers = raw
        return body, status, _with_status(headers, CacheStatus(fwd="request" if wishes.no_store else "bypass"))


def _is_hopeless(method: str, wishes: Directives) -> bool:
    return wishes.only_if_cached and method.lower() == "get"


def _take_directives(headers: Mapping[str, str]) -> tuple[Mapping[str, str], Directives]:
    """Take our control header out of a request: it never reaches Stripe."""
    wishes = directives.NONE
    for name in headers:
        if name.lower() == "cache-control":
            wishes = directives.parse(headers[name])
            headers = {other: value for other, value in headers.items() if other.lower() != "cache-control"}
            break
    # The SDK sends this while it reacts to an event: the caller knows that something has changed.
    reacts = any(name.lower() == "stripe-request-trigger" for name in headers)
    return headers, directives.reacting(wishes) if reacts else wishes


def _response(raw: Raw) -> Response:
    body, status, headers = raw
    return Response(status, headers, body.encode() if isinstance(body, str) else bytes(body))


def _raw(answer: Answer) -> Raw:
    return answer.body, answer.http_status, _with_status(answer.headers, answer.status)


def _with_status(headers: Mapping[str, str], status: CacheStatus) -> Mapping[str, str]:
    # Stripe's own headers stay in the case-insensitive mapping they came in, because the SDK mixes cases when it reads
    # them. Headers of a hit are a plain dict in lower case: a `Request-Id` found there would end up in the telemetry.
    copied: Any = headers.copy() if hasattr(headers, "copy") else dict(headers)
    copied[HEADER] = str(status)
    return copied  # type: ignore[no-any-return]  # whatever mapping it was, it still is


def _not_cached(error: NotCachedError) -> Raw:
    # RFC 9111, section 5.2.1.7: an unsatisfiable only-if-cached is answered with 504.
    body = _NOT_CACHED % str(error).replace('"', "'").encode()
    return body, _GATEWAY_TIMEOUT, {"content-type": "application/json", HEADER: str(CacheStatus(fwd="miss"))}
