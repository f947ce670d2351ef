"""The audit: a small share of hits is asked of Stripe again, so that staleness is a measured number.

A frozen Lambda does nothing after its answer, so the audit happens within the read that was drawn for it: that caller
waits for Stripe, once in a while, and gets Stripe's answer if the cached one was old. The draw needs no state, and
entries are sampled as often as they are served: the rate is that of stale answers, not of stale entries.
"""

from __future__ import annotations

import json
import logging
import secrets
from threading import Lock
from typing import TYPE_CHECKING, Any

from stripe_cache.core import metrics
from stripe_cache.core.answer import Answer
from stripe_cache.core.cache_status import CacheStatus
from stripe_cache.core.errors import InvalidationError
from stripe_cache.core.records import is_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from stripe_cache.core.answer import Response
    from stripe_cache.core.clock import Clock
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.invalidator import Invalidator
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.ports import Meter
    from stripe_cache.core.read_through import ReadThrough

MOST_PER_MINUTE = 6
"""Audits of one process, whatever the rate: a busy one would otherwise spend Stripe's budget on them."""
_DRAWN = 1_000_000
_OK, _MISSING = 200, 404

log = logging.getLogger("stripe_cache")


class Auditor:
    """Draws hits, compares, counts, and repairs. Thread-safe. `rate` is a share of hits, 0 to 1."""

    def __init__(
        self,
        reads: ReadThrough,
        invalidator: Invalidator,
        clock: Clock,
        meter: Meter,
        *,
        rate: float,
        places: Callable[[Plan, Iterable[str]], Mapping[str, Sequence[str]]],
    ) -> None:
        """`places` names the namespaces in which records are void, and which of them are void in each."""
        self._reads = reads
        self._places = places
        self._invalidator = invalidator
        self._clock = clock
        self._meter = meter
        self._rate = rate
        self._lock = Lock()
        self._minute = -1
        self._left = 0

    def draws(self, answer: object, wishes: Directives) -> bool:
        """Decide whether this answer is one to check: a fresh hit whose caller allows a call to Stripe."""
        if not self._rate or not isinstance(answer, Answer) or not answer.status.hit or answer.status.stale:
            return False
        # Not the random module: sandboxes restored from one snapshot would all draw the same.
        if wishes.only_if_cached or secrets.randbelow(_DRAWN) >= self._rate * _DRAWN:
            return False
        with self._lock:
            minute = int(self._clock.monotonic() // 60)
            if minute != self._minute:
                self._minute, self._left = minute, MOST_PER_MINUTE
            self._left -= 1
            return self._left >= 0

    def check(self, plan: Plan, answer: Answer, response: Response) -> Answer:
        """Compare a hit with what Stripe says just now, and return the answer to give.

        Errors say nothing about the entry, except that the object is gone. Of a difference the cache may have been told
        while Stripe was asked: only what it still serves afterwards is stale.
        """
        if response.status not in {_OK, _MISSING}:
            return answer
        self._meter.count(metrics.AUDIT_CHECKED, object_type=plan.object_type)
        differing = _differing(answer.body, response.body)
        if response.status == _OK and not differing:
            return answer
        again = self._reads.peek(plan)
        if isinstance(again, Answer) and again.body == answer.body:
            self._meter.count(metrics.AUDIT_STALE, object_type=plan.object_type)
            log.warning("an audit found %s stale in %s", plan.key.record, plan.key.namespace)
            for namespace, names in self._places(plan, {plan.key.record, *filter(is_record, differing)}).items():
                try:
                    self._invalidator.invalidate(namespace, names)
                except InvalidationError as error:
                    log.warning("the repair could not be told to every tier: %s", ", ".join(error.failed))
        return Answer.from_response(response, CacheStatus(fwd="request", detail="audit"))


def _differing(cached: bytes, current: bytes) -> set[str]:
    """Name what is inside one answer and not the same in the other: ids, and "" for a difference outside of objects.

    The order of keys and white space do not count.
    """
    try:
        old, new = json.loads(cached), json.loads(current)
    except (ValueError, RecursionError):
        return {""}
    if old == new:
        return set()
    before, after = _objects(old), _objects(new)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} or {""}


def _objects(body: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    remaining = [body]
    while remaining:
        value = remaining.pop()
        if isinstance(value, dict):
            if isinstance(value.get("id"), str) and value["id"]:
                found[value["id"]] = value
            remaining.extend(value.values())
        elif isinstance(value, list):
            remaining.extend(value)
    return found
