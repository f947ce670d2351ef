"""Asking Stripe on behalf of a plain read: through the SDK, for its headers, its transport and its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import stripe

from stripe_cache.core import drive, metrics
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.cache_status import CacheStatus
from stripe_cache.sdk_origin import send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stripe_cache.core.audit import Auditor
    from stripe_cache.core.descent import Miss
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.drive import Occasion
    from stripe_cache.core.engine import Engine
    from stripe_cache.core.origin import Raw
    from stripe_cache.core.plan import Plan, Request
    from stripe_cache.core.steps import Step

_FIRST_ERROR = 400


class PlainOrigin:
    """One request's way to Stripe. Raises what the SDK raises."""

    def __init__(self, engine: Engine, inner: stripe.HTTPClient, request: Request) -> None:
        self._engine = engine
        self._inner = inner
        self._request = request

    def embark(self, plan: Plan, miss: Miss, wishes: Directives) -> Answer:
        """Read on after a look that missed."""
        return self.finish(plan, self._engine.reads.embark(miss, wishes, "sync"), wishes)

    def finish(self, plan: Plan, step: Step, wishes: Directives) -> Answer:
        """Read on after the engine's first step."""

        def ask(occasion: Occasion) -> Response:
            return self._ask(plan, wishes, occasion)

        return self.checked(drive.follow(self._engine.reads, plan, wishes, ask, step))

    def audit(self, auditor: Auditor, plan: Plan, answer: Answer, wishes: Directives) -> Answer:
        """Compare a hit with what Stripe says."""

        def ask(occasion: Occasion) -> Response:
            return self._ask(plan, wishes, occasion)

        return self.checked(drive.audit(auditor, plan, answer, ask))

    def bypass(self, wishes: Directives) -> Answer:
        """Ask Stripe without the cache."""
        self._engine.meter.count(metrics.BYPASS)
        status = CacheStatus(fwd="request" if wishes.no_store else "bypass")
        return self.checked(Answer.from_response(self._ask(None, wishes, None), status))

    def _ask(self, plan: Plan | None, wishes: Directives, occasion: Occasion) -> Response:
        has_stale = drive.has_spare(occasion)
        call = self._engine.origin_call(self._request, plan, critical=wishes.critical, has_stale=has_stale)
        recorder = _Recorder(self._inner, lambda sending: send(self._engine, call, sending))
        try:
            self._send(recorder)
        except stripe.StripeError:
            # An answer of Stripe's that the SDK reads as an error is still an answer: the engine decides about it, and
            # `checked` raises the error for whoever gets it in the end.
            if not recorder.response.status:
                raise
        return recorder.response

    def checked(self, answer: Answer) -> Answer:
        """Return the answer, or raise what the SDK makes of it if it is an error of Stripe's."""
        if answer.http_status >= _FIRST_ERROR:
            self._send(_Replay(Response(answer.http_status, answer.headers, answer.body)))
        return answer

    def _send(self, http_client: stripe.HTTPClient) -> None:
        request, parts = self._request, urlsplit(self._request.url)
        client = stripe.StripeClient(
            request.credential,
            stripe_account=request.account or None,
            stripe_context=request.context or None,
            stripe_version=request.version,
            base_addresses={"api": f"{parts.scheme}://{parts.netloc}"},
            http_client=http_client,
        )
        client.raw_request("get", request.url.removeprefix(f"{parts.scheme}://{parts.netloc}"))


class _Recorder(stripe.HTTPClient):
    """Sends through another client and the gate, and keeps the raw response."""

    def __init__(self, inner: stripe.HTTPClient, gate: Callable[[Callable[[], Raw]], Raw]) -> None:
        super().__init__()
        self._inner = inner
        self._gate = gate
        self.name = inner.name  # type: ignore[misc]  # a ClassVar for the SDK's own clients, read from the instance
        self.response = Response(0, {}, b"")

    def request_with_retries(self, *args: Any, **kwargs: Any) -> tuple[Any, int, Mapping[str, str]]:
        raw = self._gate(lambda: self._inner.request_with_retries(*args, **kwargs))
        body, status, headers = raw
        self.response = Response(status, headers, body.encode() if isinstance(body, str) else bytes(body))
        return raw


class _Replay(stripe.HTTPClient):
    """Answers with a response that is there already, so that the SDK makes its error of it."""

    name = "replay"

    def __init__(self, response: Response) -> None:
        super().__init__()
        self._response = response

    def request_with_retries(self, *_args: Any, **_kwargs: Any) -> tuple[Any, int, Mapping[str, str]]:
        return self._response.body, self._response.status, self._response.headers
