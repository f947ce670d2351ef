"""Reading through the cache, in steps that a synchronous and an asynchronous caller share.

`begin` looks into the tiers and returns an answer, or a ticket (this caller asks the origin, then `complete`s or
`fail`s), or somebody else's flight to wait for. Nothing here calls the origin, so nothing here is coloured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stripe_cache.core import metrics
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.cache_status import CacheStatus
from stripe_cache.core.claims import Claims
from stripe_cache.core.directives import NONE as NO_WISHES
from stripe_cache.core.errors import NotCachedError
from stripe_cache.core.flights import Flights, Turns, tell
from stripe_cache.core.impatience import Impatience
from stripe_cache.core.ports import Claim
from stripe_cache.core.slots import Asking, found_by, slot_of
from stripe_cache.core.steps import Pause, Queued, Ticket
from stripe_cache.core.storing import Storing

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from concurrent.futures import Future

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.deadline import Deadline
    from stripe_cache.core.descent import Miss
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.lookup import Lookup
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.ports import Meter
    from stripe_cache.core.steps import Step

NONE: frozenset[str] = frozenset()
_TOO_MANY, _SERVER_ERROR = 429, 500


class ReadThrough:
    """The engine behind every cached read. Thread-safe. `max_body_bytes` bounds what is stored anywhere.

    `negative_ttl` is for how many seconds a 404 is kept; 0 for not at all.
    """

    def __init__(
        self,
        lookup: Lookup,
        deadline: Deadline,
        clock: Clock,
        meter: Meter,
        *,
        max_body_bytes: int,
        shared: bool,
        negative_ttl: float = 0.0,
    ) -> None:
        self._lookup = lookup
        self._uncounted = lookup.uncounted()
        self._clock = clock
        self._meter = meter
        self._storing = Storing(max_body_bytes, negative_ttl)
        self._has_shared = shared
        self._flights: Flights[Answer | None] = Flights()
        self._turns: Turns[Answer | None] = Turns()
        self._claims = Claims(deadline)
        self._asking = Asking()
        self._impatience = Impatience(lookup, deadline, clock)

    def look(self, plans: Sequence[Plan], directives: Directives) -> list[Answer | Miss]:
        """Look into the tiers for plans of one namespace; one round trip per tier."""
        began = self._clock.monotonic()
        results = self._lookup.walk(plans, directives)
        self._meter.observe(metrics.READ_LATENCY, (self._clock.monotonic() - began) * 1000)
        return results

    def peek(self, plan: Plan) -> Answer | Miss:
        """Look for one answer without counting a read."""
        (result,) = self._uncounted.walk([plan], NO_WISHES)
        return result

    def waits_until(self) -> float:
        """Return when a reader that begins now is to wait for others no longer, on the monotonic clock."""
        return self._clock.monotonic() + self._claims.patience()

    @property
    def claims(self) -> Claims:
        """How long readers wait, for others and before they begin again."""
        return self._claims

    def begin(self, plan: Plan, directives: Directives, colour: Hashable = None, until: float | None = None) -> Step:
        """Look, and say what to do on a miss. Raises NotCachedError on a miss if the caller allowed no origin call."""
        (result,) = self.look([plan], directives)
        return result if isinstance(result, Answer) else self.embark(result, directives, colour, until)

    def embark(self, miss: Miss, directives: Directives, colour: Hashable = None, until: float | None = None) -> Step:
        """Join the flight for this miss, or start it.

        `colour` keeps apart callers that must not wait for each other: a synchronous call on an event loop's thread
        would wait for a task that this very thread has to run. `until` is `waits_until` as it was when a reader that
        begins again first began.
        """
        if directives.only_if_cached:
            shown = miss.plan.key.record.partition("?")[0]
            raise NotCachedError(f"nothing usable is cached for {shown} and only-if-cached forbids a call")
        ticket = Ticket(miss, self._clock.now(), self._clock.monotonic(), directives)
        if directives.no_cache:
            return ticket
        until = self._impatience.until(ticket, self.waits_until() if until is None else until)
        # What stands in for a call that fails answers all who share it: they must take the same ages.
        return self._impatience.follow(ticket, self._join(ticket, (colour, directives.max_age), until), until)

    def _join(self, ticket: Ticket, colour: Hashable, until: float) -> Step:
        key = self._flight_key(ticket.miss, colour)
        if key is None:
            return self._queue(ticket, (ticket.miss.plan.key, colour), until)
        ticket.found, ticket.slot = key, slot_of(ticket.miss, colour)
        first = self._asking.first(ticket.slot)
        if first is not None:
            return first.flight if first.found == key else self._queue(ticket, ticket.slot, until, first.flight)
        flight, leads = self._flights.join(key)
        if not leads:
            return flight
        ticket.flight, ticket.flight_key, ticket.board = flight, key, self._flights
        try:
            if not self._asking.enter(ticket.slot, key, flight):
                self.abandon(ticket)
                return None  # Another thread came first, this very moment.
            return self._claim(ticket, 0.0, until)
        except BaseException:
            # Nobody has the ticket yet who could give it back.
            self.abandon(ticket)
            raise

    def _queue(self, ticket: Ticket, key: Hashable, until: float, first: Future[Answer | None] | None = None) -> Step:
        """Share the next call: nobody can say whether the one under way still counts. `first` is a flight ahead."""
        flight, leads, ahead = self._turns.join(key)
        if not leads:
            return flight
        ticket.flight, ticket.flight_key, ticket.board, ticket.until = flight, key, self._turns, until
        ahead = ahead or first
        if ahead is None:
            return self.depart(ticket)
        return Queued(ticket, ahead, max(0.0, until - self._clock.monotonic()))

    def depart(self, ticket: Ticket) -> Step:
        """Close the call to those who come later; the caller asks the origin now, or takes what the one ahead stored.

        Asks tiers if there is a lease. Whoever shares the call began before this look, so it is as good as their own.
        """
        if ticket.flight is not None:
            self._turns.depart(ticket.flight_key, ticket.flight)
            if ticket.found is not None:
                self._asking.enter(ticket.slot, ticket.found, ticket.flight)
        late = self._clock.monotonic() >= ticket.until
        return (self.instead(ticket) if late else None) or self._claim(self._asks_now(ticket), 0.0, ticket.until)

    def resume(self, pause: Pause) -> Step:
        """Look whether the other process has filled the slot by now; take over if it has given up or died."""
        ticket = pause.ticket
        is_late = self._clock.monotonic() >= pause.until
        standing = self._claims.peek(ticket.miss.leases[0])
        if standing is Claim.TAKEN and not is_late:
            return self._pause(ticket, pause.seconds, pause.until)
        answer = self._lookup.look_again(ticket.miss, ticket.directives)
        if answer is not None:
            self._land(ticket, answer)
            return answer.joined()
        if is_late and (answer := self.instead(ticket)):
            return answer
        if standing is Claim.GONE and not is_late:
            self.abandon(ticket)
            return None
        self._asks_now(ticket)
        return self._claim(ticket, pause.seconds, pause.until) if standing is Claim.MINE else ticket

    def _asks_now(self, ticket: Ticket) -> Ticket:
        # After a wait, what the origin says is as old as the call, not as the wait.
        ticket.asked_at, ticket.began = self._clock.now(), self._clock.monotonic()
        return ticket

    def _pause(self, ticket: Ticket, last: float, until: float) -> Pause:
        left = max(0.0, until - self._clock.monotonic())
        return Pause(ticket, min(left, self._claims.pause(last)), until)

    def _claim(self, ticket: Ticket, paused: float, until: float) -> Step:
        """Make this process the one that asks, for every process that shares the nearest tier."""
        if not ticket.miss.leases:
            return ticket
        lease = ticket.miss.leases[0]
        claim = self._claims.take(lease)
        if claim in {Claim.TAKEN, Claim.GONE} and self._clock.monotonic() < until:
            if claim is Claim.TAKEN:
                return self._pause(ticket, paused, until)
            self.abandon(ticket)
            return None
        if claim is not Claim.MINE:
            return (self.instead(ticket) if claim is Claim.TAKEN else None) or ticket
        ticket.claimed = lease
        # The holder before may have filled the slot, and so given its claim up, since this one looked:
        #     this one: looks, finds nothing     holder: fills     this one: claims, gets the claim
        answer = self._lookup.look_again(ticket.miss, ticket.directives)
        if answer is None:
            return ticket
        # Without a notice: those who looked too early as well shall claim in their turn, look, and find it.
        self._claims.release(lease, 0)
        self._land(ticket, answer)
        return answer.joined()

    def instead(self, ticket: Ticket) -> Answer | None:
        """Answer with a stale entry instead of waiting any longer, if one still stands and better was not asked for."""
        answer = self._impatience.answer(ticket)
        if answer is not None:
            self._land(ticket, answer)
        return answer

    def release(self, ticket: Ticket) -> None:
        """Tell those who wait in other processes that nothing will come of this claim."""
        if ticket.claimed is not None:
            self._claims.release(ticket.claimed)

    def complete(self, ticket: Ticket, response: Response) -> Answer:
        """Take the origin's response: store it if it may be stored; answer with it or, where allowed, a stale entry."""
        answer: Answer | None = None
        took: frozenset[str] = frozenset()
        try:
            if response.status == _TOO_MANY or response.status >= _SERVER_ERROR:
                reason = "stale-on-429" if response.status == _TOO_MANY else "stale-if-error"
                answer = self._lookup.stale_answer(ticket.miss, reason)
            if answer is None:
                self.missed(ticket.miss.plan)
                took = self._store(ticket, response)
                answer = Answer.from_response(response, CacheStatus(fwd=ticket.miss.fwd, stored=bool(took)))
            if not ticket.claimed or ticket.claimed.tier.name not in took:
                self.release(ticket)
        finally:
            # Whatever went wrong here, nobody may wait for ever: followers of a None start over.
            self._land(ticket, answer)
        return answer

    def fail(self, ticket: Ticket, error: Exception) -> Answer | None:
        """Take the origin's failure: answer with a stale entry where allowed, else raise the error.

        None asks the caller to begin again: the call was held back, or given up, for a stale entry that is gone now.
        """
        answer: Answer | None = None
        begins_again = False
        try:
            self.release(ticket)
            answer = self._impatience.answer_after(ticket, error)
            begins_again = answer is None and self._impatience.was_held_back(ticket, error)
            if answer is None and not begins_again:
                self.missed(ticket.miss.plan)
        finally:
            self._land(ticket, answer, None if answer or begins_again else error)
        if answer is None and not begins_again:
            raise error
        return answer

    def abandon(self, ticket: Ticket) -> None:
        """Give the duty up without having learnt anything of the origin: followers start over.

        Asks no tier; whoever may wait for one should `release` the ticket then.
        """
        self._land(ticket, None)

    def follow(self, plan: Plan, answer: Answer) -> Answer:
        """Count and return the answer of a flight: its follower's read ended as its leader's did."""
        if not answer.status.hit:
            self.missed(plan)
        else:
            metric = metrics.STALE_SERVED if ";" in answer.status.detail else metrics.HIT
            self._meter.count(metric, object_type=plan.object_type)
        return answer.joined()

    def missed(self, plan: Plan) -> None:
        """Count a read that no tier answered."""
        self._meter.count(metrics.MISS, object_type=plan.object_type)

    def _flight_key(self, miss: Miss, colour: Hashable) -> Hashable:
        return found_by(miss, colour, has_shared=self._has_shared)

    def _land(self, ticket: Ticket, answer: Answer | None, error: BaseException | None = None) -> None:
        if ticket.flight is None or ticket.board is None:
            return
        self._asking.leave(ticket.slot, ticket.flight)
        ticket.board.land(ticket.flight_key, ticket.flight)
        tell(ticket.flight, answer, error)

    def _store(self, ticket: Ticket, response: Response) -> frozenset[str]:
        """Store the response if it may be stored; return the names of the tiers that took it."""
        miss = ticket.miss
        # Whatever is held back here is served all the same; only the tiers do not get it.
        if not self._storing.takes(response.status) or not (miss.leases or miss.memory_lease):
            return NONE
        entry = self._storing.entry(miss.plan, response, ticket.asked_at)
        if entry is None:
            self._meter.count(metrics.FILL_SKIPPED, object_type=miss.plan.object_type)
            return NONE
        return self._lookup.fill(miss, entry, self._clock.now())
