"""What became of every attempt of a write, and not of the last one only.

The SDK repeats a write by itself and shows its last answer. A 409 or 429 there says nothing of a first attempt that
timed out, which Stripe may still perform. So the one method that makes an attempt is watched on the client that sends.

The same methods are where the SDK's own retries come past the gate again (`repeats.py`): each is one more request.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from stripe_cache.core.repeats import under_way
from stripe_cache.core.writing import Attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import stripe

    from stripe_cache.core.repeats import Repeats

    Raw = tuple[Any, int, Mapping[str, str]]

_SHOULD_RETRY = "stripe-should-retry"
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

    @contextmanager
    def _noted(self, repeats: Repeats | None) -> Iterator[list[Raw]]:
        """Wrap one attempt; its answer is to be appended."""
        attempts, answers = _UNDER_WAY.get(), list[tuple[Any, int, Any]]()
        if repeats is not None:
            repeats.departs()
        try:
            if attempts is None:
                yield answers
            else:
                with attempts.attempt() as statuses:
                    yield answers
                    statuses.extend(answer[1] for answer in answers)
        except Exception as error:
            if repeats is not None:
                repeats.outcome = error
            raise
        if repeats is not None:
            repeats.outcome = answers[0]


class _Request(_Watched):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        repeats = under_way()
        pause = repeats.next() if repeats is not None else 0.0
        if repeats is not None and pause is None:
            return _last(repeats.outcome)
        if pause:
            time.sleep(pause)
        with self._noted(repeats) as answers:
            raw = self._method()(*args, **kwargs)
            answers.append(raw)
        return raw


class _RequestAsync(_Watched):
    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        import asyncio

        repeats = under_way()
        pause = 0.0 if repeats is None or repeats.is_first else await asyncio.to_thread(repeats.next)
        if repeats is not None and pause is None:
            return _last(repeats.outcome)
        if pause:
            await asyncio.sleep(pause)
        with self._noted(repeats) as answers:
            raw = await self._method()(*args, **kwargs)
            answers.append(raw)
        return raw


def _last(outcome: Raw | Exception) -> Raw:
    """End the SDK's retries with the last outcome: it never repeats what says that it must not be."""
    if isinstance(outcome, Exception):
        outcome.should_retry = False  # type: ignore[attr-defined]  # what the SDK retries is an APIConnectionError
        raise outcome
    body, status, headers = outcome
    # A copy of the same kind: the SDK reads headers in mixed case, of mappings that do not mind.
    copied: Any = headers.copy() if hasattr(headers, "copy") else dict(headers)
    copied[_SHOULD_RETRY] = "false"
    return body, status, copied


_KINDS = {
    "request": _Request,
    "request_stream": _Request,
    "request_async": _RequestAsync,
    "request_stream_async": _RequestAsync,
}


def watch(client: stripe.HTTPClient) -> None:
    """Watch the attempts that a client makes; one that cannot be watched is believed less (`Attempts`)."""
    for name, kind in _KINDS.items():
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
