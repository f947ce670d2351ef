"""The sweep for lost events, on a schedule.

A run costs one request to Stripe when nothing happened and at most `calls` otherwise: one every five minutes is 9,000
reads a month, so a small account, which Stripe grants 10,000, should take fifteen.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import stripe

from stripe_cache.core.errors import RequestError, SettingError
from stripe_cache.core.plan import Request
from stripe_cache.core.reconcile import DEFAULT_CALLS, EventGoneError, EventsUnavailableError, Reconciler
from stripe_cache.handlers.container import Container, container, metered
from stripe_cache.wiring import cursor_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_CALLS = 100
_CURSORS = frozenset({"ending_before", "starting_after"})

log = logging.getLogger("stripe_cache")


@metered
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Sweep the operator's own account, then connected ones: `{"calls": 10, "accounts": ["acct_1"]}`, both optional.

    `calls` is the budget of requests per account. Raises when a sweep could not be completed: the next one repeats it.
    """
    calls = event.get("calls", DEFAULT_CALLS)
    if not isinstance(calls, int) or not 1 <= calls <= MOST_CALLS:
        raise RequestError(f"`calls` is {calls!r:.40}: give 1 to {MOST_CALLS} requests per account and run")
    parts = container()
    key = parts.secrets.values(parts.settings.api_key_secret, "STRIPE_CACHE_API_KEY_SECRET")[0]
    may_go_on = _patience(context)
    swept = {}
    for account in (None, *event.get("accounts", ())):
        namespace = _namespace(parts, key, account)
        lister = _lister(parts, key, account)
        reconciler = Reconciler(parts.cache.engine, cursor_store(parts.settings), lister, namespace, account=account)
        sweep = reconciler.run(calls, may_go_on)
        swept[namespace] = {
            "pages": sweep.pages,
            "applied": sweep.applied,
            "records": sweep.records,
            "finished": sweep.finished,
            "interrupted": sweep.interrupted,
        }
        log.info("swept the events of %s: %s", namespace, swept[namespace])
    return swept


def _namespace(parts: Container, key: str, account: str | None) -> str:
    request = Request("get", f"{parts.settings.api_base}/v1/events", key, account or "", "", "")
    namespace = parts.cache.engine.planner.namespace_of(request)
    if namespace is None:
        raise SettingError(
            f"STRIPE_CACHE_API_KEY_SECRET holds a key of the mode that STRIPE_CACHE_LIVEMODE excludes, or {account!r} "
            "is no account id: nothing of it is cached here"
        )
    return namespace


def _lister(parts: Container, key: str, account: str | None) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    def list_events(params: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            answer = parts.cache.get(
                "/v1/events", params, api_key=key, stripe_account=account or "", cache_control="no-store"
            )
        except stripe.InvalidRequestError as error:
            if error.param in _CURSORS or (error.code == "resource_missing" and not _CURSORS.isdisjoint(params)):
                raise EventGoneError(str(error.user_message)) from error
            raise EventsUnavailableError(f"Stripe refused to list events: {error.user_message}") from error
        except stripe.StripeError as error:
            raise EventsUnavailableError(f"Stripe did not list events: {type(error).__name__}") from error
        found: Mapping[str, Any] = answer.data
        return found

    return list_events


def _patience(context: Any) -> Callable[[], bool]:
    """Read on while half of the invocation's time is left: the other half is for applying what was read."""
    if not hasattr(context, "get_remaining_time_in_millis"):
        return lambda: True
    granted = context.get_remaining_time_in_millis()
    return lambda: bool(context.get_remaining_time_in_millis() > granted / 2)
