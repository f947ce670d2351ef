"""Which reads were older than what had been confirmed: the demo's referee, asked once per process.

A write through the client counts for its own process as soon as it was answered, and for the others if every tier could
be told; a webhook counts for everybody when it was acknowledged. What was queued, because a tier could not be told,
counts for everybody when it had been replayed.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from local.demo import truth, views
from local.demo.views import Shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from local.chaos.samples import Sample
    from local.fake_stripe.client import FakeStripe

MAX_LAG = 1.0
"""The settings' default of STRIPE_CACHE_MEMORY_MAX_LAG."""
_EXAMPLES = 5


@dataclass(frozen=True)
class Written:
    """A write that was answered: by which process, of which customer, with which name, and whether all were told."""

    pid: int
    customer: str
    name: str
    ended: float
    told: bool
    queued: bool


class Queued(NamedTuple):
    """The events that an outbox took, and when everything in it at a time had been told; None if that never came."""

    events: Collection[str]
    told_since: Callable[[float], float | None]


@dataclass
class Confirmed:
    """From when on which changes may not be missing: in what anybody reads, and in what one process reads."""

    by_all: list[truth.Ack] = field(default_factory=list)
    by_process: defaultdict[int, list[truth.Ack]] = field(default_factory=lambda: defaultdict(list))
    count: int = 0
    queued: int = 0

    def add(self, ack: truth.Ack, queued: Queued | None) -> None:
        """Count a change as confirmed for all: at once, or when the outbox that took it had been replayed."""
        at = queued.told_since(ack.at) if queued else ack.at
        self.count += 1
        self.queued += queued is not None
        if at is not None:
            self.by_all.append(ack._replace(at=at))


@dataclass
class Verdict:
    """What became of the invalidations."""

    confirmed: int = 0
    queued: int = 0
    """Of these, those that went through an outbox."""
    lost: int = 0
    """Confirmed changes that a later read did not show."""
    reads: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def judge(
    stripe: FakeStripe,
    reads: Sequence[tuple[str, str]],
    samples: Sequence[Sample],
    writes: Sequence[Written],
    queued: Queued,
) -> Verdict:
    """Hold every answer against the history that the fake Stripe kept."""
    kinds = {path: kind for kind, path in reads}
    rows = stripe.histories([path for _, path in reads], bodies=True)
    histories = {path: _history(kinds[path], rows[path]) for path in kinds}
    confirmed = _confirmed(stripe.deliveries(), _found(writes, rows), queued)
    verdict = Verdict(confirmed=confirmed.count, queued=confirmed.queued)
    lost: set[tuple[str, str]] = set()
    for pid in {sample.pid for sample in samples}:
        referee = truth.Referee(histories, [*confirmed.by_all, *confirmed.by_process.get(pid, ())], MAX_LAG)
        for sample in samples:
            if sample.pid != pid or sample.error:
                continue
            kind, path = reads[sample.place]
            tier = "memory" if sample.tier.startswith("memory") else sample.tier
            said = referee.verdict(Shown(kind, path, sample.value, tier), sample.began, sample.ended)
            verdict.reads[said] += 1
            if said in {truth.STALE, truth.NEVER_TRUE}:
                lost.add((path, sample.value))
                if len(verdict.examples) < _EXAMPLES:
                    source = sample.tier or "Stripe"
                    verdict.examples.append(f"{said}: {path} showed {sample.value} from {source} at {sample.began:.3f}")
    verdict.lost = len(lost)
    return verdict


def _history(kind: str, rows: Sequence[Mapping[str, Any]]) -> truth.History:
    history = truth.history_from(kind, rows)
    history.versions = [one._replace(value=json.dumps(one.value)) for one in history.versions]
    return history


def _found(
    writes: Sequence[Written], rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[tuple[Written, truth.Ack]]:
    """Return the writes that Stripe took, with the numbers of their changes."""
    found = []
    for write in writes:
        for row in rows.get(views.customer_path(write.customer), []):
            if row["body"].get("name") == write.name:
                found.append((write, truth.Ack(write.customer, row["change"], write.ended)))
                break
    return found


def _confirmed(
    deliveries: Sequence[Mapping[str, Any]], writes: Sequence[tuple[Written, truth.Ack]], queued: Queued
) -> Confirmed:
    found = Confirmed()
    for delivery in deliveries:
        for ack in truth.acks_from([delivery]):
            found.add(ack, queued if delivery["event"] in queued.events else None)
    for write, ack in writes:
        if not write.told:
            found.by_process[write.pid].append(ack)
        if write.told or write.queued:
            found.add(ack, queued if write.queued else None)
    found.count += sum(not (write.told or write.queued) for write, _ in writes)
    return found
