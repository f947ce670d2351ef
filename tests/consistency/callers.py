"""Threads of processes that read through the real `ReadThrough` and its real driver: flights, claims and pauses.

What the threads of a process share lies in the world: joining a flight and taking it off the board are steps of the
search. A pause and the wait for a flight are steps that can be taken when something has changed; looking again before
that would find what it found.
"""

from __future__ import annotations

import os
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from consistency import promises
from consistency.actors import Actor, Violation, World
from consistency.processes import EMBEDS, PLANS, Process, Site

from stripe_cache.core import directives, drive, protocol
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.cache_status import CacheStatus
from stripe_cache.core.deadline import Deadline
from stripe_cache.core.flights import Flights
from stripe_cache.core.ports import Claim, Counter, NullMeter
from stripe_cache.core.protocol import Lease
from stripe_cache.core.steps import Ticket

if TYPE_CHECKING:
    from collections.abc import Hashable

WAIT, TIMEOUT = 2.0, 2.0
"""What a call may take: its claim lasts as long and a second more, and others wait three more than that."""
_ROUNDS = 6
"""How often a read may begin again before it counts as one that never ends."""


class WorldFlights(Flights[Any]):
    """The flights of one process, which its threads see in the world."""

    def __init__(self, actor: Actor, process: str) -> None:
        super().__init__()
        self._actor = actor
        self._process = process

    def join(self, key: Hashable) -> tuple[Any, bool]:
        def effect(world: World) -> tuple[int, bool]:
            board = dict(world.get(("flights", self._process), ()))
            leads = key not in board
            if leads:
                board[key] = world["flight"] = world.get("flight", 0) + 1
                world["flights", self._process] = tuple(board.items())
            elif ("landed", board[key]) in world:
                raise Violation(f"{self._actor.name} joins a flight that has landed")
            return board[key], leads

        number, leads = self._actor.point("joins the flight", effect)
        return WorldFlight(self._actor, number), leads

    def land(self, key: Hashable, flight: Any) -> None:
        self._actor.point("takes the flight off the board", partial(self._take_off, key=key, number=flight.number))

    def _take_off(self, world: World, key: Hashable, number: int) -> None:
        board = dict(world.get(("flights", self._process), ()))
        if board.get(key) == number:
            del board[key]
            world["flights", self._process] = tuple(board.items())


class WorldFlight(Future[Any]):
    """A future whose result lies in the world; it is set in one breath with the step before."""

    def __init__(self, actor: Actor, number: int) -> None:
        super().__init__()
        self.number = number
        self._actor = actor

    def set_result(self, result: Answer | None) -> None:
        self._actor.instant(lambda world: world.update({("landed", self.number): result and result.body}))

    def set_exception(self, exception: BaseException | None) -> None:
        self._actor.instant(lambda world: world.update({("landed", self.number): str(exception)}))

    def __hash__(self) -> int:
        return hash(self.number)

    def wait(self) -> None:
        place = ("landed", self.number)
        self._actor.point("is told of the landing", lambda _: None, ready=lambda world: place in world)

    def result(self, timeout: float | None = None) -> Answer | None:
        del timeout
        found = self._actor.instant(lambda world: world["landed", self.number])
        if isinstance(found, str):
            raise OriginError(found)
        return found and Answer.from_response(Response(200, {}, found), CacheStatus(fwd="uri-miss"))


def _wait(flights: list[WorldFlight], seconds: float) -> Any:
    """Stand in for `concurrent.futures.wait`, without its patience: who would run out of it waits for ever here."""
    del seconds
    for flight in flights:
        flight.wait()
    return SimpleNamespace(done=set(flights))


class Asking(NamedTuple):
    """A call to the origin under a claim that stands until then."""

    process: str
    generation: str
    until: float


class OriginError(Exception):
    """The origin could not be reached."""


class Caller(Process):
    """One thread of `process`, which reads through the engine."""

    def __init__(self, actor: Actor, site: Site, process: str, *, fails: bool = False) -> None:
        super().__init__(actor, site)
        # Nothing but claims depends on time, and those on the server's.
        deadline = Deadline(self.clock, WAIT, TIMEOUT)
        self._reads = site.reads(self.lookup, deadline, self.clock, NullMeter(), max_body_bytes=1 << 20, shared=True)
        self._reads._claims._mine = os.getpid(), process
        self._reads._flights = (site.flights or WorldFlights)(actor, process)
        self._process = process
        self._fails = fails
        self._rounds = 0

    def read_through(self, record: str) -> None:
        """Read as `drive.run` does; check the answer, whoever brought it."""
        actor = self._actor
        actor.before_next(partial(promises.read_begins, process=actor.name))
        sleeping = mock.patch.object(drive, "time", SimpleNamespace(sleep=partial(self._pause, record)))
        # A read that begins again for the second time rests a little: no state depends on it.
        resting = mock.patch.object(drive, "_rest")
        with sleeping, resting, mock.patch.object(drive, "wait", _wait):
            try:
                answer = drive.run(self._counted(), PLANS[record], directives.NONE, partial(self._origin, record))
            except OriginError:
                actor.instant(self._ends)
                return
        tier = answer.status.detail.partition(";")[0] or "flight"
        actor.instant(partial(self._answered, tier=tier, body=answer.body))

    def claim(self, record: str) -> None:
        """Claim the right to ask for a record, and do no more."""
        (lease,) = protocol.lease(self.shared[0], [PLANS[record].key], self.clock.now())
        assert lease is not None
        assert self._reads._claims.take(lease) is Claim.MINE

    def give_up(self, record: str, generation: str) -> None:
        """Release what was claimed under this generation, long ago perhaps."""
        lease = Lease(self.shared[0], PLANS[record].key, generation, Counter("", 0, 0))
        self._reads._claims.release(lease)

    def _counted(self) -> Any:
        """Return the engine, which refuses to begin for ever."""
        begin = self._reads.begin

        def counted(*arguments: Any) -> Any:
            self._rounds += 1
            if self._rounds > _ROUNDS:
                self._actor.instant(self._never_ends)
            return begin(*arguments)

        self._reads.begin = counted  # type: ignore[method-assign]
        return self._reads

    def _origin(self, record: str, ticket: Any) -> Response:
        self._calls += 1
        call = promises.Call(f"{self._actor.name}.{self._calls}", (record, *EMBEDS[record]))
        self._actor.instant(partial(self._asks, call=call, ticket=ticket))
        if self._fails:
            self._actor.point("the call fails", self._stops_asking)
            raise OriginError("no connection")
        return Response(200, {}, promises.body_of(call, ()))

    def _asks(self, world: World, call: promises.Call, ticket: Any) -> None:
        """Check that no other process is asking the same under a claim that stands."""
        promises.call_started(world, call)
        if not isinstance(ticket, Ticket) or not ticket.miss.leases:
            return
        generation = ticket.miss.leases[0].generation
        stands = dict(world.get(("redis", call.records[0]), ())).get("g") == generation.encode()
        for place, asking in world.items() if stands else ():
            if place[0] != "asking" or asking.process == self._process or asking.generation != generation:
                continue
            if asking.until > world["time"]:
                raise Violation(f"{self._actor.name} asks although process {asking.process} is asking")
        until, holder = _claim_on(world, call.records[0])
        if ticket.claimed is not None and holder == self._process:
            world["asking", self._actor.name] = Asking(self._process, generation, until)

    def _answered(self, world: World, tier: str, body: bytes) -> None:
        promises.read_ends(world, self._actor.name, tier, body)
        self._ends(world)

    def _ends(self, world: World) -> None:
        world.pop(("reading", self._actor.name), None)
        self._stops_asking(world)

    def _stops_asking(self, world: World) -> None:
        world.pop(("asking", self._actor.name), None)

    def _never_ends(self, world: World) -> None:
        del world
        raise Violation(f"{self._actor.name} begins for the {self._rounds}th time")

    def _pause(self, record: str, seconds: float) -> None:
        """Wait until there is something new to find; nobody waits for a read that is older than an invalidation."""
        del seconds
        seen = self._actor.instant(partial(self._waits, record=record))
        self._actor.point("looks again", lambda _: None, ready=lambda world: self._view(world, record) != seen)

    def _waits(self, world: World, record: str) -> Any:
        _, holder = _claim_on(world, record)
        standing = dict(world.get(("redis", record), ())).get("g", b"").decode()
        asking = [one.generation for place, one in world.items() if place[0] == "asking" and one.process == holder]
        if asking and standing not in asking:
            raise Violation(f"{self._actor.name} waits for a call of process {holder} whose answer cannot be stored")
        return self._view(world, record)

    def _view(self, world: World, record: str) -> Any:
        """Return all that decides what looking again finds."""
        return world["time"], *(world.get(("redis", one)) for one in (record, *EMBEDS[record]))


def _claim_on(world: World, record: str) -> tuple[float, str]:
    """Return until when somebody claims the slot, and which process; nobody is an empty word."""
    fields = dict(world.get(("redis", record), ()))
    kind, rest = fields.get("cv", b"").decode()[:1], fields.get("cv", b"").decode()[1:]
    until, _, holder = rest.partition(" ")
    return (int(until) / 1000, holder) if kind == "+" else (0.0, "")
