"""From Stripe's answer to the entry that the tiers keep, or the decision that none may be kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stripe_cache.core.bounds import bounded
from stripe_cache.core.embedded import NotEmbeddableError, embedded_records
from stripe_cache.core.entry import Entry
from stripe_cache.core.freshness import jittered
from stripe_cache.core.secrets_check import has_secret

if TYPE_CHECKING:
    from stripe_cache.core.answer import Response
    from stripe_cache.core.plan import Plan

_OK, _NOT_FOUND = 200, 404
KEPT_HEADERS = ("request-id", "stripe-version", "content-type", "date")
"""The response headers an entry keeps: what support needs to find the original call, and what describes the body."""


@dataclass(frozen=True, slots=True)
class Storing:
    """What may be stored at all: bodies of so many bytes at most, and 404s for so many seconds, 0 for none."""

    max_body_bytes: int
    negative_ttl: float = 0.0

    def takes(self, status: int) -> bool:
        """Tell whether answers of this status are stored."""
        return status == _OK or (status == _NOT_FOUND and self.negative_ttl > 0)

    def entry(self, plan: Plan, response: Response, asked_at: float) -> Entry | None:
        """Make the entry of such an answer; None for one that is too long, and as `entry_of`."""
        if response.status == _NOT_FOUND:
            plan = of_absence(plan, self.negative_ttl)
        return entry_of(plan, response, asked_at) if len(response.body) <= self.max_body_bytes else None


def of_absence(plan: Plan, seconds: float) -> Plan:
    """Return the plan under which a 404 is stored.

    Nothing says when an object comes into being, except our own writes, which void its record.
    """
    fresh = min(seconds, plan.lifetimes.fresh)
    return replace(plan, lifetimes=replace(plan.lifetimes, fresh=fresh, stale=0.0))


def entry_of(plan: Plan, response: Response, asked_at: float) -> Entry | None:
    """Make the entry; None for a body that must not be kept, or whose objects cannot be told from each other.

    A secret must not be kept, nor what holds an object that the policy does not cache. `asked_at` is the wall clock
    before the call: what changed while Stripe answered is younger than the entry.
    """
    if has_secret(response.body):
        return None
    try:
        body = json.loads(response.body)
        embeds = embedded_records(body, plan.key.record, plan.broad)
    except (ValueError, RecursionError, NotEmbeddableError):
        return None
    times = bounded(plan.lifetimes, body, plan.bounds)
    if times is None:
        return None
    fresh, stale = times
    return Entry(
        status=response.status,
        headers=_kept(response),
        body=response.body,
        fetched_at=asked_at,
        fresh_until=asked_at + jittered(fresh, plan.key.binding, asked_at),
        stale_until=asked_at + fresh + stale,
        embeds=embeds,
    )


def _kept(response: Response) -> tuple[tuple[str, str], ...]:
    found = {name.lower(): str(value) for name, value in response.headers.items()}
    return tuple((name, found[name]) for name in KEPT_HEADERS if found.get(name, "").isprintable() and name in found)
