"""The sweep for lost events, and the replay of what tiers missed, on a schedule.

A run costs one request to Stripe per account when nothing happened, one per 100 events, and at most `calls`: one every
five minutes is 9,000 reads a month, so a small account, which Stripe grants 10,000, should take fifteen.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any

import stripe

from stripe_cache.core.errors import RequestError, SettingError, StripeCacheError
from stripe_cache.core.plan import Request
from stripe_cache.core.reconcile import DEFAULT_CALLS, EventGoneError, EventsUnavailableError, Reconciler
from stripe_cache.core.replay import replay_all
from stripe_cache.handlers.container import Container, container, metered
from stripe_cache.wiring import cursor_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stripe_cache.core.replay import Replayed

MOST_CALLS = 1000
_CURSORS = frozenset({"ending_before", "starting_after"})

log = logging.getLogger("stripe_cache")


class SweepsFailedError(StripeCacheError):
    """The sweeps of several accounts failed; the others are done."""


@metered
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Sweep the operator's own account and connected ones: `{"calls": 100, "accounts": ["acct_1"]}`, both optional.

    `calls` is the budget of requests per account. Each account gets its share of the time that is left, and another
    one is first in every run; one that fails keeps no other one waiting. Raises at the end when a sweep could not be
    completed: the next one repeats it.
    """
    calls = event.get("calls", DEFAULT_CALLS)
    if not isinstance(calls, int) or not 1 <= calls <= MOST_CALLS:
        raise RequestError(f"`calls` is {calls!r:.40}: give 1 to {MOST_CALLS} requests per account and run")
    parts = container()
    parts.cache.begin_invocation(context)
    key = parts.secrets.values(parts.settings.api_key_secret, "STRIPE_CACHE_API_KEY_SECRET")[0]
    accounts = list(dict.fromkeys([None, *event.get("accounts", ())]))
    first = secrets.randbelow(len(accounts))
    swept: dict[str, Any] = {}
    failures: dict[str, StripeCacheError] = {}
    for index, account in enumerate(accounts[first:] + accounts[:first]):
        share = _Share(context, len(accounts) - index)
        try:
            namespace = _namespace(parts, key, account)
            replayed = _replay(parts, account, share.may_read)
            cursors, lister = cursor_store(parts.settings), _lister(parts, key, account)
            reconciler = Reconciler(parts.cache.engine, cursors, lister, namespace, account=account)
            sweep = reconciler.run(calls, share.may_read, share.may_apply)
        except StripeCacheError as error:
            log.warning("the sweep of %s failed: %s", account or "the operator's own account", error)
            failures[account or parts.settings.namespace] = error
            continue
        swept[namespace] = {
            "pages": sweep.pages,
            "applied": sweep.applied,
            "repeated": sweep.repeated,
            "records": sweep.records,
            "finished": sweep.finished,
            "interrupted": sweep.interrupted,
            "replayed": sum(one.confirmed for one in replayed.values()),
            "left": sum(one.left for one in replayed.values()),
        }
        log.info("swept the events of %s: %s", namespace, swept[namespace])
    if len(failures) == 1:
        raise next(iter(failures.values()))
    if failures:
        said = "; ".join(f"{account}: {error}"[:200] for account, error in failures.items())
        raise SweepsFailedError(f"{len(failures)} of {len(accounts)} sweeps failed: {said}")
    return swept


def _replay(parts: Container, account: str | None, may_go_on: Callable[[], bool]) -> dict[str, Replayed]:
    """Tell tiers what they missed: before the sweep, because an event that the sweep finds may be one of them."""
    # What is kept about connected accounts is kept with the operator's own.
    namespaces = () if account else parts.cache.engine.planner.namespaces(None, livemode=None)
    return replay_all(parts.replayer, namespaces, may_go_on)


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


class _Share:
    """An account's share of the time an invocation has left: half of it to read in, and nine tenths to apply in."""

    def __init__(self, context: Any, accounts_left: int) -> None:
        self._context = context if hasattr(context, "get_remaining_time_in_millis") else None
        self._began = self._left()
        self._milliseconds = self._began / accounts_left

    def may_read(self) -> bool:
        """Tell whether to read on."""
        return self._context is None or self._began - self._left() < self._milliseconds * 0.5

    def may_apply(self) -> bool:
        """Tell whether to apply on; the last tenth is for keeping the cursor."""
        return self._context is None or self._began - self._left() < self._milliseconds * 0.9

    def _left(self) -> float:
        return float(self._context.get_remaining_time_in_millis()) if self._context is not None else 0.0
