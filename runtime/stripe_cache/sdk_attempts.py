"""What became of every attempt of a write, and not of the last one only.

The SDK repeats a write by itself and shows its last answer. A 409 or 429 there says nothing of a first attempt that
timed out, which Stripe may still perform. So the one method that makes an attempt is watched on the client that sends.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from stripe_cache.core.writing import Attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import stripe

# One object per write, so that a task which copies the context still writes into the same one.
_UNDER_WAY: ContextVar[Attempts | None] = ContextVar("stripe_cache_attempts", default=None)


class _Watched:
    """A method of a client, looked up at each call, so that whoever replaces it later on its class is heeded."""

    def __init__(self, client: stripe.HTTPClient, name: str) -> None:
        self._client = client
        self._name = name
        self._own = vars(client).get(name)

    def _method(self) -> Callable[..., Any]:
        found = self._own
        if found is None:
            kind = type(self._client)
            found = next(vars(base)[self._name] for base in kind.__mro__ if self._name in vars(base))
            found = found.__get__(self._client, kind)
        return found  # type: ignore[no-any-return]  # whatever the client has there is called with what the SDK sends


class _Request(_Watched):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        attempts = _UNDER_WAY.get()
        if attempts is None:
            return self._method()(*args, **kwargs)
        with attempts.attempt() as noted:
            raw = self._method()(*args, **kwargs)
            noted.append(raw[1])
        return raw


class _RequestAsync(_Watched):
    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        attempts = _UNDER_WAY.get()
        if attempts is None:
            return await self._method()(*args, **kwargs)
        with attempts.attempt() as noted:
            raw = await self._method()(*args, **kwargs)
            noted.append(raw[1])
        return raw


def watch(client: stripe.HTTPClient) -> None:
    """Watch the attempts that a client makes; one that cannot be watched is believed less (`Attempts`)."""
    for name, kind in (("request", _Request), ("request_async", _RequestAsync)):
        # A client that stands for another one may have no such method of its own, or take no attributes.
        if hasattr(type(client), name) and not isinstance(getattr(client, name), kind):
            with suppress(AttributeError, TypeError):
                setattr(client, name, kind(client, name))


@contextmanager
def noting(method: str, headers: Mapping[str, str], retries: int | None) -> Iterator[Attempts]:
    """Note the attempts of the write that is sent inside."""
    # Stripe takes no notice of a key on what is no POST, in the API's version 1.
    has_key = method.lower() == "post" and any(name.lower() == "idempotency-key" for name in headers)
    attempts, before = Attempts(may_repeat=bool(retries), has_key=has_key), _UNDER_WAY.get()
    _UNDER_WAY.set(attempts)
    try:
        yield attempts
    finally:
        _UNDER_WAY.set(before)
