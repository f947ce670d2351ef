"""Mutants of what a process keeps for itself, and of answers that stand in for Stripe's."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from unittest import mock

from consistency.mutants import Mutant, accepts, ignores_the_counter, vouches_for_all

from stripe_cache.core import near, protocol
from stripe_cache.core.descent import Miss, Tiers
from stripe_cache.core.errors import TierError
from stripe_cache.core.invalidator import NO_CAUSE, Invalidator
from stripe_cache.core.lookup import Lookup
from stripe_cache.core.near import Near
from stripe_cache.core.ports import NO_HOLD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.debts import Debts
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.entry import Entry
    from stripe_cache.core.near import Witness
    from stripe_cache.core.outbox import Cause, Outboxes
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.ports import HoldChange, Meter, Tier


class NeverTellsMemory(Invalidator):
    """What a process invalidates stays in its own memory."""

    def __init__(self, tiers: Tiers, debts: Debts, meter: Meter, outboxes: Outboxes | None = None) -> None:
        super().__init__(Tiers(None, tiers.shared), debts, meter, outboxes)


class TellsMemoryFirst(Invalidator):
    """Memory is told before the shared tiers, and not after them."""

    def invalidate(
        self, namespace: str, records: Sequence[str], change: HoldChange = NO_HOLD, cause: Cause = NO_CAUSE
    ) -> dict[str, int]:
        tiers = self._tiers
        if tiers.memory is not None:
            protocol.invalidate(tiers.memory, namespace, tuple(records), change)
        self._tiers = Tiers(None, tiers.shared)
        try:
            return super().invalidate(namespace, records, change, cause)
        finally:
            self._tiers = tiers


class LeasesMemoryLate(Lookup):
    """Memory's lease is taken after the shared tiers were read."""

    def _visit_memory(self, tier: Tier, missing: list[Miss], directives: Directives, now: float) -> list[Miss]:
        left = super()._visit_memory(tier, missing, directives, now)
        for miss in left:
            miss.memory_lease = None
        return left

    def _fill_above(self, miss: Miss, entry: Entry, witness: Witness | None, now: float) -> frozenset[str]:
        if self._tiers.memory is not None:
            (miss.memory_lease,) = protocol.lease(self._tiers.memory, [miss.plan.key], now)
        return super()._fill_above(miss, entry, witness, now)

    def _visit(self, tier: Tier, missing: list[Miss], directives: Directives, now: float) -> list[Miss]:
        for miss in missing:
            # Only so that a hit is taken up at all: the real one is taken when the value is at hand.
            miss.memory_lease = protocol.Lease(tier, miss.plan.key, "", mock.sentinel.none)
        return super()._visit(tier, missing, directives, now)


class ServesWhenSilent(Near):
    """A copy is served although its witness does not answer."""

    def is_current(self, namespace: str, witness: Witness) -> bool:
        with suppress(TierError):
            self._counter(witness.tier, namespace)
            return super().is_current(namespace, witness)
        return True


class RenewsBeforeComparing(Near):
    """A copy that was found out counts as just looked at."""

    def is_current(self, namespace: str, witness: Witness) -> bool:
        try:
            seen = self._counter(witness.tier, namespace)
        except TierError:
            return False
        if witness.seen == seen:
            return True
        witness.seen = seen
        return near.generations(witness.tier, namespace, list(witness.standing)) == witness.standing


class ComparesBeforeCounting(Near):
    """The counter is read after the generations: what finishes in between is taken for seen."""

    def is_current(self, namespace: str, witness: Witness) -> bool:
        same = near.generations(witness.tier, namespace, list(witness.standing)) == witness.standing
        try:
            seen = self._counter(witness.tier, namespace)
        except TierError:
            return False
        if witness.seen == seen:
            return True
        if same:
            witness.seen = seen
        return same


class ForgetsTheEmbedded(Lookup):
    """A copy's witness knows its own record's generation only."""

    def _store(self, lease: Any, plan: Plan, entry: Entry, witness: Witness | None, now: float, **inside: Any) -> Any:
        if witness is not None:
            own = plan.key.record
            witness.standing = {own: witness.standing[own]}
        return super()._store(lease, plan, entry, witness, now, **inside)


class KeepsUnvouched(Lookup):
    """A copy enters memory although no shared tier took it."""

    def _fill_above(self, miss: Miss, entry: Entry, witness: Witness | None, now: float) -> frozenset[str]:
        took = super()._fill_above(miss, entry, witness, now)
        if miss.memory_lease is not None and not took:
            self._store(miss.memory_lease, miss.plan, entry, None, now)
        return took


class Trusting(Near):
    """A copy is served without a word from its witness."""

    def is_current(self, namespace: str, witness: Witness) -> bool:
        del namespace, witness
        return True


def _vouches() -> Any:
    return mock.patch.object(protocol, "is_vouched_for", vouches_for_all)


def _mutant(name: str, program: str, planted: Callable[[], Any] | None = None, **site: Any) -> Mutant:
    given = {} if planted is None else {"planted": planted}
    return Mutant(name, program, tuple(site.items()), **given)


MEMORY_MUTANTS = (
    _mutant("a process does not tell its own memory", "own write", invalidator=NeverTellsMemory),
    _mutant("memory is told before the shared tiers", "memory threads", invalidator=TellsMemoryFirst),
    _mutant("memory's lease is taken late", "memory threads", lookup=LeasesMemoryLate),
    _mutant("a copy is served when its witness is silent", "memory silent", near=ServesWhenSilent),
    _mutant("a copy nobody vouches for enters memory", "memory silent", lookup=KeepsUnvouched),
    _mutant(
        "a process does not tell its own memory what others embed", "memory embedded", invalidator=NeverTellsMemory
    ),
    _mutant("a copy's witness forgets what it embeds", "memory embedded lossy", lookup=ForgetsTheEmbedded),
    _mutant("a copy that was found out counts as looked at", "memory silent", near=RenewsBeforeComparing),
    _mutant("generations are compared before the counter is read", "memory", near=ComparesBeforeCounting),
    _mutant("memory asks no witness, with two tiers", "memory two tiers", near=Trusting),
    _mutant("a stale copy answers without its witness", "stale if error, memory", near=Trusting),
    _mutant("embedded records count for nothing when Stripe fails", "stale if error", _vouches),
    _mutant("embedded records count for nothing before a refresh", "stale while revalidating", _vouches),
    _mutant("embedded records count for nothing while Stripe rests", "stale in vain", _vouches),
    _mutant("the counter counts for nothing beside a write", "all three", accepts(ignores_the_counter)),
)
