"""Reading through the cache, in steps that a synchronous and an asynchronous caller share.

`begin` looks into the tiers and returns an answer, or a ticket (this caller asks the origin, then `complete`s or
`fail`s), or somebody else's flight to wait for. Nothing here calls the origin, so nothing here is coloured.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stripe_cache.core import metrics
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.cache_status import CacheStatus
from stripe_cache.core.embedded import NotEmbeddableError, embedded_records
from stripe_cache.core.entry import Entry
from stripe_cache.core.errors import NotCachedError, TierError
from stripe_cache.core.flights import Flights
from stripe_cache.core.ports import Claim
from stripe_cache.core.protocol import new_token
from stripe_cache.core.secrets_check import has_secret

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from concurrent.futures import Future

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.lookup import Lookup, Miss
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.ports import Meter
    from stripe_cache.core.protocol import Lease

KEPT_HEADERS = ("request-id", "stripe-version", "content-type", "date")
"""The response headers an entry keeps: what support needs to find the original call, and what describes the body."""
NONE: frozenset[str] = frozenset()
_OK, _TOO_MANY, _SERVER_ERROR = 200, 429, 500

CLAIM_SECONDS = 5.0
"""How long one process may ask for all.

A holder that died costs the others this long; a slow one, Stripe a call more.
"""
NOTICE_SECONDS = 2.0
PATIENCE = 10.0
"""Seconds after which a reader stops waiting for other processes and asks for itself."""
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.1
"""Seconds between two looks: an origin call takes 0.1 to 0.5 s."""


@dataclass(slots=True)
class Ticket:
    """The duty to ask the origin and report back.

    `asked_at` is the wall clock before the call, `began` the monotonic one.
    """

    miss: Miss
    asked_at: float
    began: float
    directives: Directives
    flight: Future[Answer | None] | None = None
    flight_key: Hashable = None
    claimed: Lease | None = None


@dataclass(slots=True)
class Pause:
    """The advice to wait for `seconds` and then `resume`: another process is asking the origin the same."""

    ticket: Ticket
    seconds: float
    since: float
    """When the waiting began, on the monotonic clock."""


class ReadThrough:
    """The engine behind every cached read. Thread-safe. `max_body_bytes` bounds what is stored anywhere."""

    def __init__(self, lookup: Lookup, clock: Clock, meter: Meter, *, max_body_bytes: int, shared: bool) -> None:
        self._lookup = lookup
        self._clock = clock
        self._meter = meter
        self._max_body_bytes = max_body_bytes
        self._has_shared = shared
        self._flights: Flights[Answer | None] = Flights()
        self._token = new_token()

    def look(self, plans: Sequence[Plan], directives: Directives) -> list[Answer | Miss]:
        """Look into the tiers for plans of one namespace; one round trip per tier."""
        began = self._clock.monotonic()
        results = self._lookup.walk(plans, directives)
        self._meter.observe(metrics.READ_LATENCY, (self._clock.monotonic() - began) * 1000)
        return results

    def begin(
        self, plan: Plan, directives: Directives, colour: Hashable = None
    ) -> Answer | Ticket | Pause | Future[Answer | None]:
        """Look, and say what to do on a miss. Raises NotCachedError on a miss if the caller allowed no origin call."""
        (result,) = self.look([plan], directives)
        return result if isinstance(result, Answer) else self.embark(result, directives, colour)

    def embark(
        self, miss: Miss, directives: Directives, colour: Hashable = None
    ) -> Answer | Ticket | Pause | Future[Answer | None]:
        """Join the flight for this miss, or start it.

        `colour` keeps apart callers that must not wait for each other: a synchronous call on an event loop's thread
        would wait for a task that this very thread has to run.
        """
        if directives.only_if_cached:
            raise NotCachedError(
                f"nothing usable is cached for {miss.plan.key.record} and only-if-cached forbids a call"
            )
        ticket = Ticket(miss, self._clock.now(), self._clock.monotonic(), directives)
        key = self._flight_key(miss, colour)
        if key is None or directives.no_cache:
            return ticket
        flight, leads = self._flights.join(key)
        if not leads:
            return flight
        ticket.flight, ticket.flight_key = flight, key
        try:
            return self._claim(ticket, Pause(ticket, FIRST_PAUSE, ticket.began))
        except BaseException:
            # Nobody has the ticket yet who could give it back.
            self.abandon(ticket)
            raise

    def resume(self, pause: Pause) -> Answer | Ticket | Pause:
        """Look whether the other process has filled the slot by now; take over if it has given up or died."""
        ticket = pause.ticket
        answer = self._lookup.look_again(ticket.miss, ticket.directives)
        if answer is not None:
            self._land(ticket, answer)
            return self.joined(answer)
        # Should this one ask the origin after all, then from now on, not from when the waiting began.
        ticket.asked_at, ticket.began = self._clock.now(), self._clock.monotonic()
        if ticket.began - pause.since > PATIENCE:
            return ticket
        return self._claim(ticket, replace(pause, seconds=min(LONGEST_PAUSE, pause.seconds * 1.5)))

    def _claim(self, ticket: Ticket, pause: Pause) -> Answer | Ticket | Pause:
        """Make this process the one that asks, for every process that shares the nearest tier."""
        lease = next(iter(ticket.miss.leases), None)
        if lease is None:
            return ticket
        try:
            claim = lease.tier.claim(lease.key, lease.generation, self._token, CLAIM_SECONDS)
        except TierError:
            return ticket
        if claim is Claim.TAKEN:
            return pause
        if claim is not Claim.MINE:
            return ticket
        ticket.claimed = lease
        # The holder before may have filled the slot, and so given its claim up, since this one looked:
        #     this one: looks, finds nothing     holder: fills     this one: claims, gets the claim
        answer = self._lookup.look_again(ticket.miss, ticket.directives)
        if answer is None:
            return ticket
        self.release(ticket)
        self._land(ticket, answer)
        return self.joined(answer)

    def release(self, ticket: Ticket) -> None:
        """Tell those who wait in other processes that nothing will come of this claim."""
        if ticket.claimed is not None:
            with suppress(TierError):
                lease = ticket.claimed
                lease.tier.release(lease.key, lease.generation, self._token, NOTICE_SECONDS)

    def complete(self, ticket: Ticket, response: Response) -> Answer:
        """Take the origin's response: store it if it may be stored; answer with it or, where allowed, a stale entry."""
        answer: Answer | None = None
        took: frozenset[str] = frozenset()
        try:
            self._count_origin(ticket, response.status)
            if response.status == _TOO_MANY or response.status >= _SERVER_ERROR:
                reason = "stale-on-429" if response.status == _TOO_MANY else "stale-if-error"
                answer = self._lookup.stale_answer(ticket.miss, reason)
            if answer is None:
                took = self._store(ticket, response)
                answer = Answer.from_response(response, CacheStatus(fwd=ticket.miss.fwd, stored=bool(took)))
            if not ticket.claimed or ticket.claimed.tier.name not in took:
                self.release(ticket)
        finally:
            # Whatever went wrong here, nobody may wait for ever: followers of a None start over.
            self._land(ticket, answer)
        return answer

    def fail(self, ticket: Ticket, error: Exception) -> Answer:
        """Take the origin's failure: answer with a stale entry where allowed, else raise the error."""
        answer: Answer | None = None
        try:
            self._count_origin(ticket, None)
            self.release(ticket)
            answer = self._lookup.stale_answer(ticket.miss, "stale-if-error")
        finally:
            self._land(ticket, answer, None if answer else error)
        if answer is None:
            raise error
        return answer

    def abandon(self, ticket: Ticket) -> None:
        """Give the duty up without having learnt anything of the origin: followers start over.

        Asks no tier; whoever may wait for one should `release` the ticket then.
        """
        self._land(ticket, None)

    @staticmethod
    def joined(answer: Answer) -> Answer:
        """Return the answer of a flight as its follower presents it, with a decoded body of its own."""
        return replace(answer, status=answer.status._replace(collapsed=True, stored=False), _data=None)

    def _flight_key(self, miss: Miss, colour: Hashable) -> Hashable:
        """Name the flight by what was found: after an invalidation the generations differ, and so does the flight."""
        leases = miss.leases if self._has_shared else [miss.memory_lease] if miss.memory_lease else []
        if not leases:
            return None
        found = tuple((one.tier.name, one.generation, one.counter.epoch, one.counter.started) for one in leases)
        return (miss.plan.key, found, colour)

    def _land(self, ticket: Ticket, answer: Answer | None, error: BaseException | None = None) -> None:
        if ticket.flight is None:
            return
        self._flights.land(ticket.flight_key, ticket.flight)
        if error is not None:
            ticket.flight.set_exception(error)
        else:
            ticket.flight.set_result(answer)

    def _store(self, ticket: Ticket, response: Response) -> frozenset[str]:
        """Store the response if it may be stored; return the names of the tiers that took it."""
        plan = ticket.miss.plan
        # Whatever is held back here is served all the same; only the tiers do not get it.
        if response.status != _OK or (not ticket.miss.leases and not ticket.miss.memory_lease):
            return NONE
        if len(response.body) > self._max_body_bytes or has_secret(response.body):
            self._meter.count(metrics.FILL_SKIPPED, object_type=plan.object_type)
            return NONE
        try:
            embeds = embedded_records(json.loads(response.body), plan.key.record, plan.broad)
        except (ValueError, AttributeError, RecursionError, NotEmbeddableError):
            self._meter.count(metrics.FILL_SKIPPED, object_type=plan.object_type)
            return NONE
        fresh_until = ticket.asked_at + plan.lifetimes.fresh
        entry = Entry(
            status=response.status,
            headers=_kept(response),
            body=response.body,
            fetched_at=ticket.asked_at,
            fresh_until=fresh_until,
            stale_until=fresh_until + plan.lifetimes.stale,
            embeds=embeds,
        )
        return self._lookup.fill(ticket.miss, entry, self._clock.now())

    def _count_origin(self, ticket: Ticket, status: int | None) -> None:
        object_type = ticket.miss.plan.object_type
        self._meter.count(metrics.ORIGIN_CALL, object_type=object_type)
        self._meter.observe(metrics.ORIGIN_LATENCY, (self._clock.monotonic() - ticket.began) * 1000)
        if status is None or status >= _SERVER_ERROR:
            self._meter.count(metrics.ORIGIN_ERROR, object_type=object_type)
        if status == _TOO_MANY:
            self._meter.count(metrics.ORIGIN_RATE_LIMITED, object_type=object_type)


def _kept(response: Response) -> tuple[tuple[str, str], ...]:
    found = {name.lower(): str(value) for name, value in response.headers.items()}
    return tuple((name, found[name]) for name in KEPT_HEADERS if found.get(name, "").isprintable() and name in found)
