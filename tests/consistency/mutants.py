"""Variations of the protocol with one thing wrong in each: what the explorer is measured by.

None of them is reachable from the runtime. Each stands in for the real function or class while one program runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from consistency.model import ModelTier, Record

from stripe_cache.core import protocol
from stripe_cache.core.debts import Debts
from stripe_cache.core.descent import Tiers
from stripe_cache.core.errors import TierError
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.core.lookup import Lookup
from stripe_cache.core.near import Near, Witness
from stripe_cache.core.ports import NO_HOLD, Counter, HoldChange, Meter, Slot, Stamp, State, StoreOutcome, Tier
from stripe_cache.core.protocol import Filled
from stripe_cache.core.writing import Write

if TYPE_CHECKING:
    from consistency.actors import World

    from stripe_cache.core.entry import Entry, Stored
    from stripe_cache.core.key import Key
    from stripe_cache.core.outbox import Outboxes

Fill = Callable[..., Filled]


class StoresWithoutGenerationCheck(ModelTier):
    """A fill is accepted whatever has become of the record."""

    def _store(self, world: World, key: Key, generation: str, stored: Stored) -> StoreOutcome:
        held = world.get((self._name, key.record))
        return super()._store(world, key, held.generation if held else generation, stored)


class ChecksBeforeStoring(ModelTier):
    """The generation is checked, and the value stored in another step."""

    def store(self, key: Key, generation: str, stored: Stored, ttl: float) -> StoreOutcome:
        (reading,) = self.read(key.namespace, [Slot(key.record)])
        if reading.generation != generation:
            return StoreOutcome.REFUSED
        del ttl
        return self._point(f"store {key.record}", lambda world: self._store_blindly(world, key, stored))

    def _store_blindly(self, world: World, key: Key, stored: Stored) -> StoreOutcome:
        held = world.get((self._name, key.record), Record(""))
        return super()._store(world, key, held.generation, stored)


class DeletesOnly(ModelTier):
    """An invalidation drops the values and leaves the generation."""

    def _void(self, world: World, record: str, token: str, change: HoldChange) -> bool:
        held = world.get((self._name, record))
        return super()._void(world, record, held.generation if held else token, change)


class ReusesEpochs(ModelTier):
    """A lost counter begins again where it once began."""

    def _epoch(self, number: int) -> str:
        del number
        return "epoch"


class ReleasesEveryHold(ModelTier):
    """The end of a write lets go of the holds of all others, too."""

    def _void(self, world: World, record: str, token: str, change: HoldChange) -> bool:
        held = world.get((self._name, record))
        if held is not None and change.remove:
            world[self._name, record] = held._replace(holds=())
        return super()._void(world, record, token, change)


class ReadsTheCounterFirst(ModelTier):
    """`touch` reads the counter, then the records: the stamp may be older than the generation it is put on."""

    def touch(self, namespace: str, records: Sequence[str], token: str, ttl: float) -> tuple[list[State], Counter]:
        _, counter = super().touch(namespace, (), token, ttl)
        return self._touch_all(records, token), counter


def accepts(judge: Callable[[State, Counter, Counter, float], bool]) -> Callable[[], Any]:
    return lambda: mock.patch.object(protocol, "_is_older_than_lease", judge)


def ignores_the_counter(state: State, leased: Counter, after: Counter, now: float) -> bool:
    del leased, after
    return not protocol.is_held(state, now)


def _accepts_the_unsettled(state: State, leased: Counter, after: Counter, now: float) -> bool:
    return state.stamp is None or real_judge(state, leased, after, now)


def _ignores_epochs(state: State, leased: Counter, after: Counter, now: float) -> bool:
    if state.stamp is None or protocol.is_held(state, now):
        return real_judge(state, leased, after, now)
    return state.stamp.number <= leased.started


real_judge = protocol._is_older_than_lease
_real_lease = protocol.lease


def _vouches_for_the_absent(stored: Stored, standing: dict[str, str | None]) -> bool:
    noted = zip(stored.entry.embeds, stored.generations, strict=True)
    return all(standing.get(record) in {None, generation} for record, generation in noted)


def vouches_for_all(stored: Stored, standing: dict[str, str | None]) -> bool:
    del stored, standing
    return True


def _never_announces(tier: Tier, namespace: str, records: Sequence[str], change: HoldChange = NO_HOLD) -> None:
    token = protocol.new_token()
    present = tier.void(namespace, records, token, change)
    after = tier.count(namespace, finished=1)
    with contextlib.suppress(TierError):
        tier.settle(namespace, [(record, token) for record in present], Stamp(after.epoch, after.started))


def _announces_last(tier: Tier, namespace: str, records: Sequence[str], change: HoldChange = NO_HOLD) -> None:
    tier.void(namespace, records, protocol.new_token(), change)
    tier.count(namespace, started=1, finished=1)


def _finishes_first(tier: Tier, namespace: str, records: Sequence[str], change: HoldChange = NO_HOLD) -> None:
    tier.count(namespace, started=1, finished=1)
    tier.void(namespace, records, protocol.new_token(), change)


class WrongOrder(Invalidator):
    """Redis is told before DynamoDB."""

    def __init__(self, tiers: Tiers, debts: Debts, meter: Meter, outboxes: Outboxes | None = None) -> None:
        super().__init__(Tiers(tiers.memory, tuple(reversed(tiers.shared))), debts, meter, outboxes)


class LeasesLate(Lookup):
    """The right to fill Redis is taken when the value is at hand, not before the lower tier is read."""

    def _fill_above(self, miss: Any, entry: Entry, witness: Witness | None, now: float) -> bool:
        fresh = [_real_lease(lease.tier, [lease.key], now)[0] for lease in miss.leases]
        miss.leases = [lease for lease in fresh if lease is not None]
        return super()._fill_above(miss, entry, witness, now)


class WatchesTheStarted(Near):
    """Memory watches the counter of announced invalidations."""

    def _counter(self, tier: Tier, namespace: str) -> tuple[str, int]:
        return super()._counter(_Swapped(tier), namespace)

    def note(self, tier: Tier, namespace: str, counter: Counter, asked: tuple[float, float]) -> None:
        super().note(tier, namespace, Counter(counter.epoch, counter.started, counter.started), asked)


class _Swapped:
    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self.name = tier.name

    def count(self, namespace: str) -> Counter:
        counter = self._tier.count(namespace)
        return Counter(counter.epoch, counter.started, counter.started)


class TrustsTheMonotonicClock(Near):
    """A frozen process takes its last look for a recent one."""

    def moment(self) -> tuple[float, float]:
        return self._clock.monotonic(), 0.0


class WitnessedLate(Lookup):
    """A copy's counter is read after its value."""

    def _fill_above(self, miss: Any, entry: Entry, witness: Witness | None, now: float) -> bool:
        if witness is not None:
            counter = witness.tier.count(miss.plan.key.namespace)
            witness.seen = (counter.epoch, counter.finished)
        return super()._fill_above(miss, entry, witness, now)


@contextlib.contextmanager
def voids_only_before() -> Iterator[None]:
    """Make a write void before it is sent, and not again."""
    with (
        mock.patch.object(Write, "end", return_value=None),
        mock.patch.object(protocol, "new_hold", return_value=""),
    ):
        yield


@contextlib.contextmanager
def voids_only_after() -> Iterator[None]:
    """Make a write void when it is answered, and not before."""
    with mock.patch.object(Write, "begin", return_value=None):
        yield


@contextlib.contextmanager
def holds_nothing() -> Iterator[None]:
    """Make a write void before and after, and hold nothing in between."""
    with mock.patch.object(protocol, "new_hold", return_value=""):
        yield


class PaysInAnyOrder(Debts):
    """Only the tier that could not be told is owed something."""

    def add(self, tier: Tier, namespace: str, records: Any, hold: str = "") -> None:
        if tier.name == "dynamodb":
            super().add(tier, namespace, records, hold)


@dataclass(frozen=True)
class Mutant:
    """A bug, the program that shows it, and how it is planted."""

    name: str
    program: str
    site: tuple[tuple[str, Any], ...] = ()
    planted: Callable[[], Any] = contextlib.nullcontext


def _function(name: str, stand_in: Any) -> Callable[[], Any]:
    return lambda: mock.patch.object(protocol, name, stand_in)


MUTANTS = (
    Mutant("a fill is stored without a look at the generation", "plain", (("tier", StoresWithoutGenerationCheck),)),
    Mutant("the generation is checked before the fill only", "plain", (("tier", ChecksBeforeStoring),)),
    Mutant("an invalidation deletes, and keeps the generation", "plain", (("tier", DeletesOnly),)),
    Mutant("Redis is invalidated before DynamoDB", "two tiers", (("invalidator", WrongOrder),)),
    Mutant("a copy from DynamoDB enters Redis under a late lease", "two tiers", (("lookup", LeasesLate),)),
    Mutant("embedded generations are read after the fetch, no counter", "embedded", (), accepts(ignores_the_counter)),
    Mutant("an unsettled generation is accepted", "embedded", (), accepts(_accepts_the_unsettled)),
    Mutant("an invalidation is not announced", "embedded", (), _function("invalidate", _never_announces)),
    Mutant("an invalidation is announced after it was done", "embedded", (), _function("invalidate", _announces_last)),
    Mutant("touch reads the counter before the records", "embedded", (("tier", ReadsTheCounterFirst),)),
    Mutant(
        "embedded records are not looked at on a read", "embedded", (), _function("is_vouched_for", vouches_for_all)
    ),
    Mutant(
        "an absent embedded record passes on a read", "lossy", (), _function("is_vouched_for", _vouches_for_the_absent)
    ),
    Mutant("a lost counter begins again under the same epoch", "lossy", (("tier", ReusesEpochs),)),
    Mutant("numbers of two epochs are compared", "epochs", (), accepts(_ignores_epochs)),
    Mutant("a write voids before it is sent only", "write", (), voids_only_before),
    Mutant("a write voids after its answer only", "crash", (), voids_only_after),
    Mutant("a write holds nothing", "crash", (), holds_nothing),
    Mutant("a hold is released by another writer", "two writers", (("tier", ReleasesEveryHold),)),
    Mutant("memory watches announced invalidations", "memory", (("near", WatchesTheStarted),)),
    Mutant("an invalidation counts as finished before it is", "memory", (), _function("invalidate", _finishes_first)),
    Mutant("memory trusts the monotonic clock alone", "memory frozen", (("near", TrustsTheMonotonicClock),)),
    Mutant("a near copy's counter is read after its value", "memory", (("lookup", WitnessedLate),)),
    Mutant("debts are paid in any order", "outage of a write", (("debts", PaysInAnyOrder),)),
)
