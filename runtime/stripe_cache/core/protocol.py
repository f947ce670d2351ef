"""The order of steps that makes an acknowledged invalidation final (P1, P2, P4), over any tier.

Each record has a generation, replaced by every invalidation. A reader that misses takes a lease: the generation and
the namespace's invalidation counter, both read before the origin is asked. Its fill is accepted only under the same
generation, so a slow fill loses against any invalidation in between, and against a flush or an eviction too, because
a lost generation comes back as another one.

An answer may embed other objects, known only once the origin has answered. Every stored value therefore carries the
generation of each embedded record and counts only while all of them stand. Generations read after the answer leave a
hole:
    reader: miss, asks the origin       changer: changes customer C, invalidates C, done
    reader: gets the OLD C inside its answer, reads C's generation (the new one), stores: dead data that looks alive
The counter closes it. An invalidation first announces itself (started + 1), and a generation is settled with a number
the counter had when it already stood. A fill is refused if an embedded generation's number is above the one the lease
saw. While a generation is unsettled (new, or new again after an eviction that may have swallowed an invalidation), it
is accepted only if the counter has not moved at all since the lease; the filler settles it, so that the next fill
passes whatever the counter does.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from stripe_cache.core.entry import Stored
from stripe_cache.core.errors import TierError, TierPartError
from stripe_cache.core.ports import NO_HOLD, Slot, Stamp, StoreOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stripe_cache.core.entry import Entry
    from stripe_cache.core.key import Key
    from stripe_cache.core.near import Witness
    from stripe_cache.core.ports import Counter, HoldChange, State, Tier

LEASE_TTL = 3600.0
"""Seconds a record without entries is kept. Losing it earlier is safe; keeping it avoids refused fills."""

_LONGEST_TIME = 15
"""Digits of epoch seconds, and then some."""
HOLD_SECONDS = 900.0
"""Seconds after which a write whose process died no longer keeps its records from being cached.

Twice the SDK's longest write (80 s timeout, 2 retries, back-off) and 7 minutes of clock skew between processes.
"""
SKEW_SECONDS = 420.0
"""Seconds for which an ended hold is kept: whoever's clock is behind must find it until it has ended there too."""
MOST_HOLDS = 100
"""Holds that a record keeps one by one."""
MERGED = "many"
"""Stands for a hold's token where more than MOST_HOLDS were made one. No writer takes it away: it ends by itself."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to fill one slot of one tier with an answer whose origin call starts after this was taken."""

    tier: Tier
    key: Key
    generation: str
    counter: Counter


class Found(NamedTuple):
    """A value that every record it depends on still vouches for, at the time of the look."""

    stored: Stored
    generation: str


class Inside(NamedTuple):
    """What a tier says of the records that an answer embeds: their generations, and whether these allow the fill."""

    generations: tuple[str, ...]
    are_old_enough: bool
    is_held: bool
    """Whether a write on one of them may be in flight."""


class Filled(NamedTuple):
    """What became of a fill, and the generations under which the embedded records were noted."""

    outcome: StoreOutcome
    generations: tuple[str, ...]


def new_token() -> str:
    """Return a word never used before: 72 random bits, drawn now (one drawn at import would repeat after SnapStart)."""
    return secrets.token_urlsafe(9)


def look(tier: Tier, keys: Sequence[Key]) -> list[Found | None]:
    """Read slots of one namespace and drop those whose embedded records have moved on.

    One round trip, and a second one only if a value with embedded records, other than its gate, was found. A gate is
    read together with the value: not earlier than the look begins, which is all that a look promises of the rest.
    """
    if not keys:
        return []
    namespace, gates = keys[0].namespace, sorted({key.gate for key in keys if key.gate})
    readings = tier.read(namespace, [*(Slot(key.record, key) for key in keys), *map(Slot, gates)])
    found: list[Found | None] = [
        None if reading.stored is None or reading.generation is None else Found(reading.stored, reading.generation)
        for reading in readings[: len(keys)]
    ]
    standing = {gate: reading.generation for gate, reading in zip(gates, readings[len(keys) :], strict=True)}
    embedded = sorted({record for one in found if one for record in one.stored.entry.embeds} - standing.keys())
    if embedded:
        standing |= generations(tier, namespace, embedded)
    return [one if one and is_vouched_for(one.stored, standing) else None for one in found]


def generations(tier: Tier, namespace: str, records: Sequence[str]) -> dict[str, str | None]:
    """Read the records' generations, in one round trip; None for an absent record."""
    readings = tier.read(namespace, [Slot(record) for record in records])
    return {record: reading.generation for record, reading in zip(records, readings, strict=True)}


def is_vouched_for(stored: Stored, standing: dict[str, str | None]) -> bool:
    """Tell whether every embedded record still has the generation noted at the fill; an absent one has not."""
    noted = zip(stored.entry.embeds, stored.generations, strict=True)
    return all(standing.get(record) == generation for record, generation in noted)


def lease(tier: Tier, keys: Sequence[Key], now: float) -> list[Lease | None]:
    """Take leases before asking the next tier or the origin; None for a record on which a write is in flight."""
    if not keys:
        return []
    records = [key.record for key in keys]
    states, counter = tier.touch(keys[0].namespace, records, new_token(), LEASE_TTL)
    return [
        None if is_held(state, now) else Lease(tier, key, state.generation, counter)
        for key, state in zip(keys, states, strict=True)
    ]


def fill(
    held: Lease, entry: Entry, ttl: float, now: float, witness: Witness | None = None, *, inside: Inside | None = None
) -> Filled:
    """Store the answer unless anything it consists of was, or may have been, invalidated since the lease.

    `inside` is what `look_inside` has said since the origin answered, if it was asked already.
    """
    generations, are_old_enough, _ = inside or look_inside(held, entry, ttl, now)
    if not are_old_enough:
        return Filled(StoreOutcome.REFUSED, ())
    stored = Stored(entry, generations, witness)
    return Filled(held.tier.store(held.key, held.generation, stored, ttl), generations)


def look_inside(held: Lease, entry: Entry, ttl: float, now: float) -> Inside:
    """Note the generations of what the answer embeds, and judge whether they stood before the lease was taken.

    Whatever replaces one of them between this and the store makes every look find the value unequal.
    """
    if not entry.embeds or ttl <= 0:
        return Inside((), not entry.embeds, is_held=False)
    tier, namespace = held.tier, held.key.namespace
    states, after = tier.touch(namespace, entry.embeds, new_token(), ttl)
    unsettled = [
        (record, state.generation) for record, state in zip(entry.embeds, states, strict=True) if not state.stamp
    ]
    if unsettled:
        # The counter was read after these generations stood: whatever invalidation it does not include yet will still
        # replace them.
        tier.settle(namespace, unsettled, Stamp(after.epoch, after.started))
    return Inside(
        tuple(state.generation for state in states),
        all(_is_older_than_lease(state, held.counter, after, now) for state in states),
        any(is_held(state, now) for state in states),
    )


def _is_older_than_lease(state: State, leased: Counter, after: Counter, now: float) -> bool:
    """Tell whether the record's last invalidation certainly was announced before the lease was taken."""
    if is_held(state, now):
        return False
    if state.stamp is None:
        return (after.epoch, after.started) == (leased.epoch, leased.started)
    if state.stamp.epoch == leased.epoch:
        return state.stamp.number <= leased.started
    # Two epochs. If the lease's is still the current one, the stamp's is older, so the generation stood before the
    # lease.
    return after.epoch == leased.epoch


def is_held(state: State, now: float) -> bool:
    """Tell whether a write on this record may still be in flight."""
    return bool(state.holds) and any(_stands(hold, now) for hold in state.holds)


def _stands(hold: str, now: float) -> bool:
    until = hold.rpartition("@")[2]
    # What does not say until when is none of ours: somebody else writes here, and nothing of this record is cached.
    return not (until.isascii() and until.isdigit()) or int(until[:_LONGEST_TIME]) > now


def kept_holds(holds: Iterable[str], change: HoldChange, now: float) -> set[str]:
    """Return a record's holds after a change, without those that have ended on every clock, and not more than a few.

    Writers that die, or get no answer, leave theirs behind. Too many become one that lasts as long as the longest.
    """
    kept = {hold for hold in {*holds} - {change.add, change.remove, ""} if _end(hold) > now - SKEW_SECONDS}
    kept |= {change.add} - {""}
    if len(kept) > MOST_HOLDS:
        foreign = {hold for hold in kept if _end(hold) == inf}
        kept = {*foreign, f"{MERGED}@{int(max(map(_end, kept - foreign)))}"} if kept > foreign else foreign
    return kept


def _end(hold: str) -> float:
    _, mark, until = hold.rpartition("@")
    return int(until[:_LONGEST_TIME]) if mark and until.isascii() and until.isdigit() else inf


def new_hold(now: float) -> str:
    """Name the hold of a write that starts now."""
    return f"{new_token()}@{int(now + HOLD_SECONDS)}"


def invalidate(tier: Tier, namespace: str, records: Sequence[str], change: HoldChange = NO_HOLD) -> None:
    """Void the records in this tier; from its return on, nothing whose origin call started before it is served.

    The order of the steps matters. Announce first, so that a fill of an answer that embeds one of these records, and
    that read the counter before us, is refused from now on. Then void. Then count it as finished: memory tiers
    elsewhere watch that number. Were they to watch the first one, a process could see it move, compare generations
    before they are replaced, find nothing changed, and trust its copy until the next invalidation. Settling comes
    last and only spares refused fills.

    Raises TierError where a step failed: nothing is promised then. All the same the records are voided if it was only
    the counter's part of the tier that is away. The other parts go on serving, for as long as that takes, and what they
    hold of these records is known to be old.
    """
    token = new_token()
    try:
        tier.count(namespace, started=1)
    except TierPartError:
        with contextlib.suppress(TierError):
            tier.void(namespace, records, token, change)
        raise
    present = tier.void(namespace, records, token, change)
    after = tier.count(namespace, finished=1)
    with contextlib.suppress(TierError):
        tier.settle(namespace, [(record, token) for record in present], Stamp(after.epoch, after.started))
