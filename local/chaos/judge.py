"""Which reads were older than what had been confirmed: the demo's referee, asked once per process.

A write through the client counts for its own process as soon as it was answered, and for the others if every tier could
be told; a webhook counts for everybody when it was acknowledged.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.demo import truth, views
from local.demo.views import Shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


@dataclass
class Verdict:
    """What became of the invalidations."""

    confirmed: int = 0
    lost: int = 0
    """Confirmed changes that a later read did not show."""
    reads: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def judge(
    stripe: FakeStripe, reads: Sequence[tuple[str, str]], samples: Sequence[Sample], writes: Sequence[Written]
) -> Verdict:
    """Hold every answer against the history that the fake Stripe kept."""
    kinds = {path: kind for kind, path in reads}
    rows = stripe.histories([path for _, path in reads], bodies=True)
    histories = {path: _history(kinds[path], rows[path]) for path in kinds}
    common = truth.acks_from(stripe.deliveries())
    own: dict[int, list[truth.Ack]] = {}
    for write in writes:
        found = _ack(write, rows.get(views.customer_path(write.customer), []))
        if found is not None:
            (common if write.told else own.setdefault(write.pid, [])).append(found)
    verdict = Verdict(confirmed=len(common) + sum(map(len, own.values())))
    lost: set[tuple[str, str]] = set()
    for pid in {sample.pid for sample in samples}:
        referee = truth.Referee(histories, [*common, *own.get(pid, ())], MAX_LAG)
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


def _ack(write: Written, rows: Sequence[Mapping[str, Any]]) -> truth.Ack | None:
    change = next((row["change"] for row in rows if row["body"].get("name") == write.name), None)
    return None if change is None else truth.Ack(write.customer, change, write.ended)
