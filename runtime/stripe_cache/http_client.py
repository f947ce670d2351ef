"""The cache as a `stripe.HTTPClient` around another one.

The SDK calls `request_with_retries` and its siblings and nothing else, so that is where we stand: below the SDK's
objects and errors, above its retries. Overriding `request` instead would make the inherited retry loop take a hit for
a call of its own and report it to Stripe in the next request's telemetry.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import stripe

from stripe_cache.core import directives, drive, metrics
from stripe_cache.core.answer import Response
from stripe_cache.core.cache_status import HEADER, CacheStatus
from stripe_cache.core.errors import NotCachedError, ReadOnlyError
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.writing import NOT_SENT, Write, writing
from stripe_cache.sdk_attempts import noting, watch
from stripe_cache.sdk_origin import ClientRateLimitedError, default_inner, send, send_async

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stripe_cache.core.answer import Answer
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.drive import Occasion
    from stripe_cache.core.engine import Engine
    from stripe_cache.core.origin import OriginCall

    Raw = tuple[Any, int, Mapping[str, str]]

__all__ = ["CachingHTTPClient", "default_inner"]

_GATEWAY_TIMEOUT = 504
_NEVER = NotCachedError("such requests are never cached, and only-if-cached forbids a call")
_NOT_CACHED = b'{"error": {"type": "api_error", "message": "stripe-cache: %s"}}'


class CachingHTTPClient(stripe.HTTPClient):
    """Answers GETs from the cache, voids what writes touch, and passes everything else through untouched.

    Thread-safe as far as `inner` is. One instance serves any number of keys and accounts: what separates them travels
    in each request's headers.
    """

    def __init__(self, engine: Engine, inner: stripe.HTTPClient) -> None:
        super().__init__()
        self._engine = engine
        self.inner = inner
        watch(inner)
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

        def origin(occasion: Occasion = None) -> Raw:
            def sending() -> Raw:
                return self.inner.request_with_retries(
                    method, url, sent, post_data, max_network_retries=max_network_retries, _usage=_usage
                )

            return send(self._engine, self._call(request, plan, wishes, occasion, max_network_retries), sending)

        def response(occasion: Occasion) -> Response:
            return _response(origin(occasion))

        request = _request(method, url, sent)
        plan = self._plan(request, sent, post_data, wishes)
        if isinstance(plan, Plan):
            try:
                return _raw(drive.run(self._engine.reads, plan, wishes, response, self._engine.auditor))
            except NotCachedError as error:
                return _not_cached(error)
        if plan is None:
            if _is_hopeless(method, wishes):
                return _not_cached(_NEVER)
            self._count_bypass(method)
            return _passed(origin(), wishes)
        retries = max_network_retries
        with writing(plan, self._engine.clock) as answered, noting(method, sent, retries) as attempts:
            try:
                raw = origin()
            except ClientRateLimitedError:
                answered.append(NOT_SENT)
                raise
            if attempts.settle(raw[1]):
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

        async def origin(occasion: Occasion = None) -> Raw:
            async def sending() -> Raw:
                return await self.inner.request_with_retries_async(
                    method, url, sent, post_data, max_network_retries=max_network_retries, _usage=_usage
                )

            call = self._call(request, plan, wishes, occasion, max_network_retries)
            return await send_async(self._engine, call, sending)

        async def response(occasion: Occasion) -> Response:
            return _response(await origin(occasion))

        request = _request(method, url, sent)
        plan = self._plan(request, sent, post_data, wishes)
        if isinstance(plan, Plan):
            try:
                return _raw(await drive.run_async(self._engine.reads, plan, wishes, response, self._engine.auditor))
            except NotCachedError as error:
                return _not_cached(error)
        if plan is None:
            if _is_hopeless(method, wishes):
                return _not_cached(_NEVER)
            self._count_bypass(method)
            return _passed(await origin(), wishes)
        # Until it is sent nothing can have been done: the hold is taken away again.
        body: Any = NOT_SENT
        try:
            await drive.on_thread(plan.begin, self._engine.clock.now())
            body = None
            with noting(method, sent, max_network_retries) as attempts:
                raw = await origin()
            body = raw[0] if attempts.settle(raw[1]) else None
        except ClientRateLimitedError:
            body = NOT_SENT
            raise
        finally:
            # Done even if the caller is cancelled here, or was above while the hold was being put.
            await drive.on_thread(plan.end, body)
        return raw

    def request_stream_with_retries(
        self, method: str, url: str, headers: Mapping[str, str], *args: Any, **kwargs: Any
    ) -> Raw:
        """Pass through: streams are never cached."""
        sent, wishes = _take_directives(headers)
        call = self._call(_request(method, url, sent), None, wishes, None, kwargs.get("max_network_retries"))
        return send(
            self._engine, call, lambda: self.inner.request_stream_with_retries(method, url, sent, *args, **kwargs)
        )

    async def request_stream_with_retries_async(
        self, method: str, url: str, headers: Mapping[str, str], *args: Any, **kwargs: Any
    ) -> Raw:
        """Pass through: streams are never cached."""
        sent, wishes = _take_directives(headers)
        call = self._call(_request(method, url, sent), None, wishes, None, kwargs.get("max_network_retries"))
        return await send_async(
            self._engine, call, lambda: self.inner.request_stream_with_retries_async(method, url, sent, *args, **kwargs)
        )

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

    def _plan(self, request: Request, headers: Mapping[str, str], form: Any, wishes: Directives) -> Plan | Write | None:
        """Decide: a cached read, a write, or None for what is passed through.

        Raises ReadOnlyError for a write whose sender could not void it afterwards.
        """
        if request.method == "get":
            # One name in two spellings: which of them Stripe heeds depends on the HTTP library.
            unclear = len({name.lower() for name in headers}) < len(headers)
            plan = None if wishes.no_store or unclear else self._engine.planner.plan(request)
            return plan if isinstance(plan, Plan) else None
        namespace = self._engine.planner.namespace_of(request)
        if namespace is None:
            return None
        places = partial(self._engine.planner.written, request)
        write = Write(self._engine.invalidator, namespace, request.method, request.url, form, places=places)
        if write.changes_nothing:
            return None
        if self._engine.read_only:
            raise ReadOnlyError(
                f"{request.method.upper()} {urlsplit(request.url).path} was not sent: this process is read-only "
                "(STRIPE_CACHE_READ_ONLY), so what it changed would stay cached. Send it from a function that was "
                "attached without read_only, or through a StripeClient without the cache"
            )
        return write

    def _call(
        self,
        request: Request,
        plan: Plan | Write | None,
        wishes: Directives,
        occasion: Occasion,
        retries: int | None,
    ) -> OriginCall:
        planned = plan if isinstance(plan, Plan) else None
        return self._engine.origin_call(
            request,
            planned,
            critical=wishes.critical,
            has_stale=drive.has_spare(occasion),
            repeatable=not retries,
        )

    def _count_bypass(self, method: str) -> None:
        # Writes that void nothing come this way as well.
        if method.lower() == "get":
            self._engine.meter.count(metrics.BYPASS)


def _passed(raw: Raw, wishes: Directives) -> Raw:
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


def _request(method: str, url: str, headers: Mapping[str, str]) -> Request:
    # Headers given per call keep the caller's spelling, and `stripe-account` is an account like `Stripe-Account`.
    given = {name.lower(): value for name, value in headers.items()}
    return Request(
        method.lower(),
        url,
        given.get("authorization", "").removeprefix("Bearer "),
        given.get("stripe-account", ""),
        given.get("stripe-context", ""),
        given.get("stripe-version", ""),
    )


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
