"""The walk down the tiers: memory, Redis, DynamoDB; and what a hit below puts into the tiers above."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

from stripe_cache.core import metrics, protocol
from stripe_cache.core.answer import Answer
from stripe_cache.core.cache_status import CacheStatus
from stripe_cache.core.descent import Miss
from stripe_cache.core.entry import Freshness
from stripe_cache.core.errors import TierError
from stripe_cache.core.freshness import EARLY_WINDOW
from stripe_cache.core.near import Near, Witness
from stripe_cache.core.ports import NullMeter, StoreOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.debts import Debts
    from stripe_cache.core.descent import Tiers
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.entry import Entry
    from stripe_cache.core.freshness import EarlyRenewal
    from stripe_cache.core.heat import Heat
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.ports import Meter, Tier
    from stripe_cache.core.protocol import Filled, Found, Inside, Lease
    from stripe_cache.core.refresh import Refresher

_OUTCOMES = {
    StoreOutcome.STORED: metrics.FILL,
    StoreOutcome.REFUSED: metrics.FILL_REFUSED,
    StoreOutcome.TOO_LARGE: metrics.FILL_SKIPPED,
    StoreOutcome.UNSEALED: metrics.FILL_SKIPPED,
}


class Lookup:
    """Walks the tiers for several requests of one namespace at once: one round trip per tier. Thread-safe."""

    def __init__(
        self,
        tiers: Tiers,
        near: Near,
        debts: Debts,
        clock: Clock,
        meter: Meter,
        *,
        early: EarlyRenewal | None = None,
        refresher: Refresher | None = None,
        heat: Heat | None = None,
        rests: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`rests` tells of a URL whether a read of it that has a stale entry would be turned away (`origin.py`)."""
        self._rests = rests
        self._early = early
        self._refresher = refresher
        self._heat = heat
        self._tiers = tiers
        self._near = near
        self._debts = debts
        self._clock = clock
        self._meter = meter

    def walk(self, plans: Sequence[Plan], directives: Directives) -> list[Answer | Miss]:
        """Return an answer or a miss for each plan; never raises for a tier's sake."""
        now = self._clock.now()
        fwd = "request" if directives.no_cache else "uri-miss"
        oldest = directives.max_age
        misses = missing = [Miss(plan, oldest, fwd=fwd, in_vain=self._is_in_vain(plan, directives)) for plan in plans]
        if self._tiers.memory is not None:
            missing = self._visit_memory(self._tiers.memory, missing, directives, now)
        for tier in self._debts.trusted(self._tiers.shared) if missing else ():
            if missing:
                missing = self._visit(tier, missing, directives, now)
        for miss in (miss for miss in misses if miss.answer is None):
            miss.answer = self._instead(miss, now) or self._while_revalidating(miss, directives)
        return [miss.answer or miss for miss in misses]

    def uncounted(self) -> Lookup:
        """Return the same lookup for looks that are nobody's reads: it counts nothing."""
        return Lookup(self._tiers, self._near, self._debts, self._clock, NullMeter())

    def fill(self, miss: Miss, entry: Entry, now: float) -> frozenset[str]:
        """Store the origin's answer under every lease; return the names of the tiers that took it."""
        return self._fill_above(miss, entry, None, now)

    def look_again(self, miss: Miss, directives: Directives) -> Answer | None:
        """Look for what another process may have filled in the meantime, in the nearest shared tier only."""
        tier, namespace = miss.leases[0].tier, miss.plan.key.namespace
        if not self._may_read(tier):
            return None
        seen = self._near.last_seen(tier, namespace)
        (found,) = protocol.look(tier, [miss.plan.key])
        now = self._clock.now()
        answer = self._accept(tier, miss, found, directives, now)
        if answer and found and miss.memory_lease is not None and not answer.status.stale:
            self._store(miss.memory_lease, miss.plan, found.stored.entry, _witness(tier, miss, found, seen), now)
        return answer

    def stale_answer(self, miss: Miss, reason: str) -> Answer | None:
        """Serve a stale entry the walk came past, if one still stands: an invalidated one is not stale, it is gone.

        Any tier's will do: the nearest may have evicted its own meanwhile, or stopped answering.
        """
        for tier in miss.stale:
            answer = self._stale_from(tier, miss, reason)
            if answer is not None:
                return answer
        return None

    def _stale_from(self, tier: Tier, miss: Miss, reason: str) -> Answer | None:
        plan = miss.plan
        # The walk trusted the tier; since then this process may have written and not been able to tell it.
        if not self._may_read(tier):
            return None
        # The origin took its time to fail. Whatever was invalidated meanwhile must not be served now: look again.
        (found,) = protocol.look(tier, [plan.key])
        if found is None:
            return None
        entry, witness, now = found.stored.entry, found.stored.witness, self._clock.now()
        if witness is not None and not self._near.is_current(plan.key.namespace, witness):
            return None
        freshness = entry.freshness(now)
        if freshness is Freshness.DEAD or entry.age(now) > miss.max_age:
            return None
        # An entry that was to be renewed early is still fresh: it needs no permission, and no excuse.
        return self._hit(tier, plan, entry, now, "" if freshness is Freshness.FRESH else f"; {reason}")

    def _may_read(self, tier: Tier) -> bool:
        # Memory is told of everything that a tier may be owed, at once.
        return tier is self._tiers.memory or tier in self._debts.trusted(self._tiers.shared)

    def _visit_memory(self, tier: Tier, missing: list[Miss], directives: Directives, now: float) -> list[Miss]:
        left = []
        for miss, found in self._look(tier, missing, directives):
            witness = found.stored.witness if found else None
            outdated = witness is not None and not self._near.is_current(miss.plan.key.namespace, witness)
            miss.answer = None if outdated else self._accept(tier, miss, found, directives, now)
            if miss.answer is None:
                # Taken before any other tier is read: an invalidation by another thread of this process, in between,
                # then refuses the copy.
                (miss.memory_lease,) = protocol.lease(tier, [miss.plan.key], now)
                left.append(miss)
        self._meter.count(metrics.MISS, len(left), tier=tier.name)
        return left

    def _visit(self, tier: Tier, missing: list[Miss], directives: Directives, now: float) -> list[Miss]:
        left = []
        namespace = missing[0].plan.key.namespace
        seen = self._near.last_seen(tier, namespace)
        for miss, found in self._look(tier, missing, directives):
            miss.answer = self._accept(tier, miss, found, directives, now)
            if miss.answer is None:
                left.append(miss)
            elif found and (miss.leases or miss.memory_lease) and not miss.answer.status.stale:
                self._fill_above(miss, found.stored.entry, _witness(tier, miss, found, seen), now)
        # Who has a spare will not fill anything, and need not ask the tier for leave.
        self._take_leases(tier, namespace, [miss for miss in left if not miss.spare], now)
        self._meter.count(metrics.MISS, len(left), tier=tier.name)
        # While a write may be in flight, what lies below could not be filled either, and is not asked for.
        return [miss for miss in left if not miss.is_held]

    def _look(self, tier: Tier, missing: list[Miss], directives: Directives) -> list[tuple[Miss, Found | None]]:
        if directives.no_cache:
            return [(miss, None) for miss in missing]
        return list(zip(missing, protocol.look(tier, [miss.plan.key for miss in missing]), strict=True))

    def _accept(self, tier: Tier, miss: Miss, found: Found | None, directives: Directives, now: float) -> Answer | None:
        """Answer with what was found if its age is right; else remember why not."""
        if found is None:
            return None
        entry = found.stored.entry
        freshness = entry.freshness(now)
        if freshness is not Freshness.DEAD and entry.age(now) > directives.max_age:
            # The policy lets a stale entry answer, and the caller does not: nobody remembers it.
            miss.fwd = "request" if freshness is Freshness.FRESH else "stale"
        elif freshness is Freshness.FRESH:
            if (
                entry.fresh_until - now > EARLY_WINDOW
                or miss.in_vain
                or not self._renews_early(miss.plan, entry, directives, now)
            ):
                return self._hit(tier, miss.plan, entry, now, "")
            miss.saw_stale(tier)
        elif freshness is Freshness.STALE:
            if now - entry.fresh_until <= directives.max_stale and directives.max_stale:
                return self._hit(tier, miss.plan, entry, now, "; max-stale")
            miss.saw_stale(tier)
            younger = miss.spare is None or entry.fresh_until > miss.spare[1].fresh_until
            if miss.in_vain and younger and tier is not self._tiers.memory:
                miss.spare = tier, entry
        return None

    def _is_in_vain(self, plan: Plan, directives: Directives) -> bool:
        return not (directives.critical or directives.only_if_cached) and self._rests(plan.target.url)

    def _instead(self, miss: Miss, now: float) -> Answer | None:
        """Answer with the stale entry that this walk has read, where asking for a better one would be in vain.

        It stood when it was read, after this reader began: whatever was invalidated before that was not there any more.
        Unlike `stale_answer`, nothing has taken time since. Memory's own copy may lag, and is looked at again there.
        """
        return self._hit(miss.spare[0], miss.plan, miss.spare[1], now, "; stale-if-error") if miss.spare else None

    def _while_revalidating(self, miss: Miss, directives: Directives) -> Answer | None:
        """Answer with the stale entry while a refresh is on its way: no tier has a fresh one, as is known by now."""
        if self._refresher is None or not miss.stale or directives.max_age < math.inf:
            return None
        return self.stale_answer(miss, "stale-while-revalidate") if self._refresher.request(miss.plan) else None

    def _renews_early(self, plan: Plan, entry: Entry, directives: Directives, now: float) -> bool:
        if self._early is None or directives.only_if_cached:
            return False
        return self._early.is_due(plan.object_type, plan.key.binding, entry.fresh_until - now, now)

    def _hit(self, tier: Tier, plan: Plan, entry: Entry, now: float, detail: str) -> Answer:
        metric = metrics.STALE_SERVED if detail else metrics.HIT
        self._meter.count(metric, tier=tier.name, object_type=plan.object_type)
        if self._heat is not None:
            self._heat.hit(plan)
        return Answer.from_entry(entry, CacheStatus(hit=True, ttl=entry.ttl(now), detail=tier.name + detail))

    def _take_leases(self, tier: Tier, namespace: str, misses: list[Miss], now: float) -> None:
        if not misses:
            return
        asked = self._near.moment()
        with suppress(TierError):
            for miss, lease in zip(misses, protocol.lease(tier, [miss.plan.key for miss in misses], now), strict=True):
                if lease is None:
                    miss.saw_hold()
                else:
                    miss.leases.append(lease)
                    self._near.note(tier, namespace, lease.counter, asked)

    def _fill_above(self, miss: Miss, entry: Entry, witness: Witness | None, now: float) -> frozenset[str]:
        """Store under every lease, lowest tier first; the nearest shared one that took it vouches for memory's copy."""
        took = set()
        inside = self._inside(miss, entry, now)
        if inside is None:
            for lease in miss.leases:
                self._meter.count(metrics.FILL_REFUSED, tier=lease.tier.name, object_type=miss.plan.object_type)
            return frozenset()
        for lease, standing in inside:
            filled = self._store(lease, miss.plan, entry, None, now, inside=standing)
            if filled is not None:
                took.add(lease.tier.name)
                noted = dict(zip(entry.embeds, filled.generations, strict=True))
                noted[lease.key.record] = lease.generation
                witness = Witness(lease.tier, noted, (lease.counter.epoch, lease.counter.finished))
        vouched = witness is not None or not self._tiers.shared
        own = miss.memory_lease
        if own is not None and vouched and self._store(own, miss.plan, entry, witness, now) is not None:
            took.add(own.tier.name)
        return frozenset(took)

    def _inside(self, miss: Miss, entry: Entry, now: float) -> list[tuple[Lease, Inside]] | None:
        """Ask every tier that may be filled, lowest first, for the embedded records, before any of them is.

        None if one of them holds such a record: as with the record itself, the others may have lost the hold.
        """
        found: list[tuple[Lease, Inside]] = []
        for lease in reversed(miss.leases):
            with suppress(TierError):
                found.append((lease, protocol.look_inside(lease, entry, self._ttl(lease, miss.plan, entry, now), now)))
        return None if any(inside.is_held for _, inside in found) else found

    def _ttl(self, lease: Lease, plan: Plan, entry: Entry, now: float) -> float:
        return min(plan.lifetimes.cap(lease.tier.name), entry.stale_until - now)

    def _store(
        self,
        lease: Lease,
        plan: Plan,
        entry: Entry,
        witness: Witness | None,
        now: float,
        *,
        inside: Inside | None = None,
    ) -> Filled | None:
        """Store under one lease; None unless the tier took it."""
        ttl = self._ttl(lease, plan, entry, now)
        if ttl <= 0:
            return None
        try:
            filled = protocol.fill(lease, entry, ttl, now, witness, inside=inside)
        except TierError:
            return None
        self._meter.count(_OUTCOMES[filled.outcome], tier=lease.tier.name, object_type=plan.object_type)
        return filled if filled.outcome is StoreOutcome.STORED else None


def _witness(tier: Tier, miss: Miss, found: Found, seen: tuple[str, int] | None) -> Witness:
    standing = dict(zip(found.stored.entry.embeds, found.stored.generations, strict=True))
    standing[miss.plan.key.record] = found.generation
    return Witness(tier, standing, seen)
