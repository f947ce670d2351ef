"""A process of the model: the real lookup, invalidator, near, debts and writing over model tiers, one actor's hands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from consistency import promises
from consistency.actors import Actor, Violation, World
from consistency.model import ModelTier, Record

from stripe_cache.core import directives, protocol
from stripe_cache.core.answer import Answer
from stripe_cache.core.debts import Debts
from stripe_cache.core.descent import Miss, Tiers
from stripe_cache.core.entry import Entry
from stripe_cache.core.errors import InvalidationError
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.core.key import Key
from stripe_cache.core.lookup import Lookup
from stripe_cache.core.near import Near
from stripe_cache.core.plan import Lifetimes, Plan
from stripe_cache.core.ports import NO_HOLD, HoldChange, NullMeter, Tier
from stripe_cache.core.read_through import ReadThrough
from stripe_cache.core.replay import Replayer
from stripe_cache.core.writing import Attempts, Write, writing
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.tiers.outbox_dynamodb import DynamoDBOutbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.outbox import Outboxes

NAMESPACE = "acct_1.test"
CUSTOMER, SUBSCRIPTION = "cus_1", "sub_1"
_LIFETIMES = Lifetimes(1e9, 0.0, 1e9, 1e9)
PLANS = {record: Plan(Key.of(NAMESPACE, record, "v"), "", _LIFETIMES, ()) for record in (CUSTOMER, SUBSCRIPTION)}
EMBEDS = {CUSTOMER: (), SUBSCRIPTION: (CUSTOMER,)}
_ATTEMPTS = 2
_CONFLICT = 409


@dataclass(frozen=True)
class Site:
    """How the processes of one program are built; mutants replace parts of it."""

    shared: tuple[str, ...] = ("redis",)
    watched: tuple[str, ...] = (CUSTOMER, SUBSCRIPTION)
    memory: bool = False
    versions: bool = False
    """Whether answers hold versions, as the promises about writes need. Those about invalidations need none: they
    speak of when a call started, whatever it brought."""
    tier: Callable[[Actor, str, Sequence[str]], Tier] = ModelTier
    """Makes the tiers: ModelTier, a mutant of it, or a real tier over a model of its server."""
    invalidator: type[Invalidator] = Invalidator
    near: type[Near] = Near
    lookup: type[Lookup] = Lookup
    debts: type[Debts] = Debts
    timed: bool = False
    """Whether its clocks show the world's time; with a memory they do."""
    reads: type[ReadThrough] = ReadThrough
    flights: type[Any] | None = None
    places: tuple[str, ...] = ()
    """Where what a tier missed is kept: queue, table."""
    marks: bool = False
    """Whether events that were applied are marked."""
    parts: type[Any] | None = None
    """Stands in for what a handler is made of."""
    outbox: type[DynamoDBOutbox] = DynamoDBOutbox
    replayer: type[Replayer] = Replayer
    stale: bool = False
    """Whether what is stored is past its freshness at once, and within its stale window for ever."""
    options: tuple[tuple[str, Any], ...] = ()
    """What the lookups are given besides: who refreshes in the background, or whether calls would be in vain."""
    near_tier: type[Any] | None = None
    """Makes the memory that several actors share, as threads of a process do; None for one of each actor's own."""


class _StoppedClock:
    def now(self) -> float:
        return 0.0

    monotonic = now


class _WorldClock:
    """The world's time, as this process's clocks show it: the wall clock may be wrong, the other may stand still."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def now(self) -> float:
        seconds: float = self._actor.instant(lambda world: world["time"] + world.get(("wall", self._actor.name), 0.0))
        return seconds

    def monotonic(self) -> float:
        seconds: float = self._actor.instant(lambda world: world["time"] - world.get(("frozen", self._actor.name), 0.0))
        return seconds


class Process:
    """One process with one thread. Built anew for every run of its actor: its memory is a function of the log."""

    def __init__(self, actor: Actor, site: Site) -> None:
        self._actor = actor
        self._site = site
        self.clock: Any = _WorldClock(actor) if site.memory or site.timed else _StoppedClock()
        meter = NullMeter()
        # A breaker would only add reads that ask nobody.
        shared: tuple[Tier, ...] = tuple(
            GuardedTier(site.tier(actor, name, site.watched), 1.0, _StoppedClock(), meter) for name in site.shared
        )
        self.shared = shared
        own = site.near_tier(actor, shared) if site.near_tier else MemoryTier(1 << 20, self.clock)
        tiers = Tiers(own if site.memory else None, shared)
        debts = site.debts()
        self.near = site.near(promises.MAX_LAG, self.clock)
        self.lookup = site.lookup(tiers, self.near, debts, self.clock, meter, **dict(site.options))
        self.teller = site.invalidator(tiers, debts, meter, self._outboxes())
        self.invalidator = _Witnessed(self.teller)
        self._calls = 0

    def read(self, record: str, *, stripe_fails: bool = False) -> None:
        """Read through the cache, and check what a tier answered."""
        actor = self._actor
        if self._site.memory:
            # A read that memory answers asks nobody, so it would be one with whatever came before it.
            actor.point("is asked for it", lambda _: None)
        actor.before_next(partial(promises.read_begins, process=actor.name))
        (found,) = self.lookup.walk([PLANS[record]], directives.NONE)
        if isinstance(found, Miss) and self._site.stale and stripe_fails:
            actor.point("the origin fails", lambda _: None)
            found = self.lookup.stale_answer(found, "stale-if-error") or found
        if isinstance(found, Answer):
            tier = found.status.detail.partition(";")[0]
            actor.instant(partial(promises.read_ends, process=actor.name, tier=tier, body=found.body))
            return
        if not stripe_fails:
            self._fetch(record, found)
        actor.instant(partial(promises.read_ends_at_origin, process=actor.name))

    def invalidate(self, record: str) -> None:
        """Do what an event makes us do; a queue tries once more. The change itself came before, at any time."""
        actor = self._actor
        for _ in range(_ATTEMPTS):
            actor.before_next(partial(promises.invalidation_begins, process=actor.name, records=(record,)))
            try:
                self.invalidator.invalidate(NAMESPACE, (record,))
            except InvalidationError:
                actor.instant(partial(promises.invalidation_failed, process=actor.name))
            else:
                actor.instant(partial(promises.invalidation_confirmed, process=actor.name))
                return

    def write(self, record: str) -> None:
        """Write through the client."""
        actor = self._actor
        write = Write(self.invalidator, NAMESPACE, "post", _url(record), "name=x")
        with writing(write, self.clock) as answered:
            version: int = actor.point(
                f"the write of {record} takes effect",
                partial(promises.write_takes_effect, process=actor.name, record=record),
            )
            answered.append("{}")
        told = not self.invalidator.failed_last
        actor.instant(partial(promises.write_answered, process=actor.name, record=record, version=version, told=told))

    def write_without_an_answer(self, record: str) -> None:
        """Write through the client twice: no answer, then a conflict. It gives up before Stripe has performed it."""
        actor, attempts = self._actor, Attempts(may_repeat=True, has_key=True)
        with writing(Write(self.invalidator, NAMESPACE, "post", _url(record), "name=x"), self.clock) as answered:
            with attempts.attempt():
                actor.point(
                    f"the write of {record} is sent", lambda world: world.setdefault(("sent", record), "on its way")
                )
            with attempts.attempt() as status:
                status.append(_CONFLICT)
            if attempts.settle(_CONFLICT):
                answered.append(b"{}")

    def perform(self, record: str) -> None:
        """Be Stripe, and perform that write at last."""
        self._actor.point(
            f"the write of {record} takes effect",
            partial(promises.late_write_takes_effect, process=self._actor.name, record=record),
            ready=lambda world: ("sent", record) in world,
        )

    def _outboxes(self) -> Outboxes | None:
        """Keep nothing of what a tier missed, and leave it to who invalidates to do it again."""
        return None

    def announce(self) -> None:
        """Announce an invalidation, and die."""
        for tier in self.shared:
            tier.count(NAMESPACE, started=1)

    def begin_write(self, record: str) -> None:
        """Do what comes before a write is sent."""
        Write(self.invalidator, NAMESPACE, "post", _url(record), "name=x").begin(0.0)

    def die_in_write(self, record: str) -> None:
        """Let a write that was begun take effect, and never end it."""
        actor = self._actor
        actor.point(
            f"the write of {record} takes effect, and its writer dies",
            partial(promises.write_takes_effect, process=actor.name, record=record),
        )
        actor.instant(partial(promises.writer_died, actor.name))

    def _fetch(self, record: str, miss: Miss) -> None:
        actor, records = self._actor, (record, *EMBEDS[record])
        self._calls += 1
        call = promises.Call(f"{actor.name}.{self._calls}", records)
        # At the earliest moment it can start, and so the one that the most invalidations come after.
        actor.instant(partial(promises.call_started, call=call))
        versions = ()
        if self._site.versions:
            versions = actor.point(
                f"the origin answers with {record}", partial(promises.origin_answers, records=records)
            )
        entry = Entry(
            200, (), promises.body_of(call, versions), 0.0, 0.0 if self._site.stale else 1e9, 1e9, EMBEDS[record]
        )
        self.lookup.fill(miss, entry, self.clock.now())


def _url(record: str) -> str:
    return f"https://api.stripe.com/v1/customers/{record}"


class _Witnessed(Invalidator):
    """An invalidator that remembers whether its last invalidation reached every tier."""

    def __init__(self, inner: Invalidator) -> None:
        self._inner = inner
        self.failed_last = False

    def invalidate(self, namespace: str, records: Sequence[str], change: HoldChange = NO_HOLD) -> dict[str, int]:
        self.failed_last = True
        done = self._inner.invalidate(namespace, records, change)
        self.failed_last = False
        return done


class Onlooker(Actor):
    """Takes every step at once: looks at a state without being part of it."""

    def point(self, label: str, effect: Any, faults: tuple[str, ...] = (), **how: Any) -> Any:
        del label, faults, how
        self._begin()
        return effect(self.world)

    def instant(self, effect: Any) -> Any:
        self._begin()
        return effect(self.world)


def _holds_values(held: Any) -> bool:
    """Tell whether a record, of either model, holds any value: most do not, and need no look."""
    return bool(held.values) if isinstance(held, Record) else any(name.startswith("v") for name, _ in held or ())


def no_dead_value(site: Site, world: World) -> None:
    """Look into every shared tier, in this very state, and check what it would serve to whoever comes now."""
    start = promises.now(world)
    if not start.deaths and not start.floors:
        return
    for name in site.shared:
        if not any(_holds_values(world.get((name, record))) for record in PLANS):
            continue
        tier = site.tier(Onlooker("onlooker", world, []), name, site.watched)
        for plan in PLANS.values():
            (found,) = protocol.look(tier, [plan.key])
            if found is not None:
                promises.check("onlooker", name, found.stored.entry.body, start)


__all__ = ["CUSTOMER", "SUBSCRIPTION", "Onlooker", "Process", "Site", "Violation", "no_dead_value"]
