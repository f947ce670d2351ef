"""The SDK's way to Stripe with our deadlines, and our errors as the SDK's users expect to catch them."""

from __future__ import annotations

import importlib.util
import threading
from typing import TYPE_CHECKING, Any

import stripe

from stripe_cache.core.errors import NoTimeError, OriginUnavailableError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe_cache.core.engine import Engine
    from stripe_cache.core.origin import OriginCall, Raw

_TOO_MANY = 429


class ClientRateLimitedError(RateLimitedError, stripe.RateLimitError):
    """A call that was not sent, for callers who catch stripe.RateLimitError; `retry_after` says when it would be."""

    def __init__(self, error: RateLimitedError) -> None:
        stripe.RateLimitError.__init__(self, str(error), http_status=_TOO_MANY, code="rate_limit")
        self.namespace, self.bucket, self.retry_after = error.namespace, error.bucket, error.retry_after


class ClientUnavailableError(OriginUnavailableError, stripe.APIConnectionError):
    """A call that was not sent because Stripe keeps failing, for callers who catch stripe.APIConnectionError."""

    def __init__(self, error: OriginUnavailableError) -> None:
        stripe.APIConnectionError.__init__(self, str(error), should_retry=False)  # type: ignore[no-untyped-call]  # the SDK leaves it unannotated
        self.host, self.last_failure = error.host, error.last_failure


class ClientNoTimeError(ClientUnavailableError, NoTimeError):
    """A call that was not sent because the invocation is about to end, for callers who catch its parents."""


class _Sessions:
    """What RequestsClient needs of a requests.Session: one real session per thread, and our timeout for reads."""

    def __init__(self, read_timeout: Callable[[], float]) -> None:
        self._read_timeout = read_timeout
        self._mine = threading.local()

    def request(self, method: str, url: str, **options: Any) -> Any:
        from stripe_cache import sdk_deadline

        if getattr(self._mine, "session", None) is None:
            self._mine.session = sdk_deadline.session()
        if method.lower() == "get":
            options.pop("timeout", None)
            return sdk_deadline.request(self._mine.session, self._read_timeout(), method, url, **options)
        return self._mine.session.request(method, url, **options)

    def close(self) -> None:
        if getattr(self._mine, "session", None) is not None:
            self._mine.session.close()


def default_inner(engine: Engine | None = None, proxy: str | None = None, *, verify: bool = True) -> stripe.HTTPClient:
    """Return the HTTP client that StripeClient itself would use, its asynchronous half included.

    With an engine, a synchronous read is given up after the gate's read timeout instead of the SDK's 80 seconds.
    """
    # The one private name we use: without it StripeClient's own choice of an asynchronous library cannot be had.
    from stripe._http_client import new_http_client_async_fallback

    fallback = new_http_client_async_fallback(proxy=proxy, verify_ssl_certs=verify)
    if engine is None or importlib.util.find_spec("requests") is None:
        return stripe.new_default_http_client(async_fallback_client=fallback, proxy=proxy, verify_ssl_certs=verify)
    sessions: Any = _Sessions(engine.gate.read_timeout)
    return stripe.RequestsClient(session=sessions, async_fallback_client=fallback, proxy=proxy, verify_ssl_certs=verify)


def send(engine: Engine, call: OriginCall, sending: Callable[[], Raw]) -> Raw:
    """Send through the gate; what the gate raises becomes what the SDK's users catch."""
    try:
        return engine.gate.call(call, sending)
    except (RateLimitedError, OriginUnavailableError) as error:
        raise as_stripe_error(error) from error


async def send_async(engine: Engine, call: OriginCall, sending: Callable[[], Any]) -> Raw:
    """Send through the gate without blocking; a read that took too long is a connection error, as with the SDK."""
    try:
        raw: Raw = await engine.gate.call_async(call, sending)
    except (RateLimitedError, OriginUnavailableError, TimeoutError) as error:
        raise as_stripe_error(error) from error
    return raw


def as_stripe_error(error: Exception) -> stripe.StripeError:
    """Turn an error of the gate's into one that is the SDK's as well."""
    if isinstance(error, RateLimitedError):
        return ClientRateLimitedError(error)
    if isinstance(error, NoTimeError):
        return ClientNoTimeError(error)
    if isinstance(error, OriginUnavailableError):
        return ClientUnavailableError(error)
    text = "Stripe did not answer this read in time; it was cancelled"
    return stripe.APIConnectionError(text, should_retry=True)  # type: ignore[no-untyped-call]  # the SDK's
