"""Processes that learn of changes, and those that tell tiers what they missed: the real handlers' code over the model.

What a tier could not be told goes into the real outboxes, and comes out of them through the real replayer and the
real consumer of the queue.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from consistency import promises, queued
from consistency.model import reach
from consistency.outbox_model import QUEUE, ModelQueue, ModelScan, ModelTable
from consistency.processes import NAMESPACE, Process

from stripe_cache.core.applying import Applier
from stripe_cache.core.engine import Engine
from stripe_cache.core.errors import InvalidationError
from stripe_cache.core.outbox import Cause, Outboxes
from stripe_cache.core.ports import NullMeter
from stripe_cache.core.replay import replay_all
from stripe_cache.core.seen import Seen
from stripe_cache.handlers import invalidations
from stripe_cache.handlers.container import Container
from stripe_cache.tiers import outbox_dynamodb
from stripe_cache.tiers.outbox_sqs import SqsOutbox
from stripe_cache.tiers.redis_names import redis_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consistency.actors import Actor, World
    from consistency.processes import Site

_DELIVERIES = 2
"""How often Stripe delivers what is not accepted."""
_MANY = 100


class Parts(Container):
    """What a sandbox makes, of a process of the model."""

    def __init__(self, engine: Engine, table: Outboxes) -> None:
        self.meter: Any = NullMeter()
        self.cache: Any = SimpleNamespace(engine=engine)
        self.__dict__["table_outboxes"] = table


class Marks:
    """Marks of events in the nearest shared tier, in one actor's hands."""

    def __init__(self, actor: Actor, tier: str) -> None:
        self._actor = actor
        self._tier = tier

    def known(self, namespace: str, events: Sequence[str]) -> set[str]:
        del namespace
        asked = frozenset(events)
        found = reach(
            self._actor,
            self._tier,
            f"look for the mark of {', '.join(events)} in {self._tier}",
            lambda world: frozenset(world.get((self._tier, "marks"), ())) & asked,
        )
        return set(found)

    def mark(self, namespace: str, events: Sequence[str]) -> None:
        del namespace

        def effect(world: World) -> None:
            world[self._tier, "marks"] = frozenset(world.get((self._tier, "marks"), ())) | frozenset(events)

        reach(self._actor, self._tier, f"mark {', '.join(events)} in {self._tier}", effect)


class Messenger(Process):
    """A process with outboxes. An outbox that keeps one entry per item collapses at the next."""

    most = _MANY

    def __init__(self, actor: Actor, site: Site) -> None:
        super().__init__(actor, site)
        meter = NullMeter()
        seen = Seen(Marks(actor, site.shared[0]), self.clock) if site.marks else None
        planner: Any = SimpleNamespace(
            namespaces=lambda *_, **__: (NAMESPACE,),
            places=lambda records, *_, **__: {NAMESPACE: tuple(records)},
        )
        none: Any = None
        engine = Engine(planner, none, self.teller, self.near, self.clock, meter, none, seen=seen)
        self._engine = engine
        self._parts = (site.parts or Parts)(engine, Outboxes([self._table()], self.clock, meter))

    def deliver(self, record: str, event: str = "") -> None:
        """Do what a webhook does; without an `event`, the change came before everything."""
        actor = self._actor
        if event:
            actor.point(f"{event} is delivered", lambda _: None, ready=lambda world: ("changed", event) in world)
        for _ in range(_DELIVERIES):
            actor.before_next(partial(promises.invalidation_begins, process=actor.name, records=(record,)))
            try:
                with self._bounded():
                    word = self._parts.apply((record,), account=None, livemode=None, cause=Cause(event))
            except InvalidationError:
                actor.instant(partial(promises.invalidation_failed, process=actor.name))
            else:
                actor.instant(partial(self._accepted, word=word, event=event))
                return

    def write(self, record: str) -> None:
        """Write through the client; what its end could not tell a tier is queued."""
        with self._bounded():
            super().write(record)

    def change(self, record: str, event: str) -> None:
        """Be Stripe: change a record, and make an event of it."""

        def effect(world: World) -> None:
            world["changed", event] = promises.calls_with(world, record)

        self._actor.point(f"{record} changes, which makes {event}", effect)

    def sweep(self, record: str, *events: str) -> None:
        """Do what the reconciler does with a page of events about a customer."""
        actor = self._actor
        actor.point("the events are listed", lambda _: None, ready=lambda world: ("changed", events[-1]) in world)
        listed = [
            {
                "id": event,
                "object": "event",
                "type": "customer.updated",
                "data": {"object": {"id": record, "object": "customer"}},
            }
            for event in events
        ]
        actor.before_next(partial(promises.invalidation_begins, process=actor.name, records=(record,)))
        applier = Applier(self._engine, None)
        try:
            applier.apply(listed)
        except InvalidationError:
            actor.instant(partial(promises.invalidation_failed, process=actor.name))
            return
        if applier.repeated < len(events):
            word = "queued" if applier._unconfirmed else "done"
            actor.instant(partial(self._accepted, word=word, event=""))
            return
        for event in events:
            actor.instant(partial(self._accepted, word="repeated", event=event))

    def replay(self, times: int = 1) -> None:
        """Tell tiers what the table says they missed."""
        names = {"redis": redis_names(lambda: ModelScan(self._actor, self._site))}
        replayer = self._site.replayer(self._table(), self.teller, names, NullMeter())
        with self._bounded():
            for _ in range(times):
                replay_all(replayer, [NAMESPACE])

    def consume(self, times: int = 1) -> None:
        """Do what Lambda does with the queue: hand out messages, and delete those that were not reported as failed."""
        queue = ModelQueue(self._actor)
        handler: Any = invalidations.handler
        for _ in range(times):
            records = queue.receive()
            with self._bounded(), mock.patch.object(invalidations, "container", return_value=self._parts):
                told = handler.__wrapped__({"Records": records}, None)
            left = {one["itemIdentifier"] for one in told["batchItemFailures"]}
            for record in records:
                if record["messageId"] not in left:
                    queue.delete(record["messageId"])

    def _outboxes(self) -> Outboxes | None:
        known = {QUEUE: lambda: SqsOutbox(QUEUE, lambda: ModelQueue(self._actor)), "table": self._table}
        places = [known[name]() for name in self._site.places]
        return Outboxes(places, self.clock, NullMeter()) if places else None

    def _table(self) -> Any:
        return self._site.outbox(lambda: ModelTable(self._actor, self.most), "table", self.clock)

    def _bounded(self) -> Any:
        """Let every entry go into one and the same item: where several meet is what matters."""
        return mock.patch.multiple(outbox_dynamodb, SHARDS=1, MOST_PER_SHARD=self.most)

    def _accepted(self, world: World, word: str, event: str) -> None:
        name = self._actor.name
        if word == "done":
            promises.invalidation_confirmed(world, name)
        elif word == "queued":
            queued.must_be_kept(world, name)
            promises.invalidation_failed(world, name)
        else:
            world.pop(("doomed", name), None)
            calls = world["changed", event]
            world["deaths"] |= {promises.Death(call, world["time"], name) for call in calls}
