"""The referee: holds every answer against the history that the fake Stripe kept, and against what was acknowledged.

An answer shows a version of each object it is made of. That version ended with some change. If a webhook for that
change, or for a later one of the same object, was acknowledged before the handler even began, the answer is stale after
an acknowledged webhook: the one thing a cache must never be. The memory tier alone may be `max_lag` behind, so an
answer from memory gets that much grace; how often it used it is counted.

Changes are compared by number, not by clock. The clock only orders an acknowledgement (noted after the sender has read
the 2xx) and the start of a handler (noted in the worker); both are on this machine.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from local.demo import views

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from local.demo.traffic import Sample
    from local.demo.views import Shown

FRESH, AWAITING, WITHIN_LAG, STALE, NEVER_TRUE = "fresh", "awaiting webhook", "within memory lag", "stale", "never true"
_ORDER = (FRESH, AWAITING, WITHIN_LAG, STALE, NEVER_TRUE)
MEMORY = "memory"
_EXAMPLES = 5


class Version(NamedTuple):
    """What a read showed from one change to the next; `ended_by` is that change's number, None while it lasts."""

    value: Hashable
    since: float
    until: float
    ended_by: int | None


class Ack(NamedTuple):
    """A webhook that was answered 2xx: the object it is about, the number of its change, and when."""

    object_id: str
    change: int
    at: float


@dataclass
class History:
    """All versions of one read, and the objects whose webhooks announce a new one."""

    versions: list[Version]
    objects: set[str]


@dataclass
class Judgement:
    """How many reads got which verdict, and the worst answers in words."""

    reads: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def stale(self) -> int:
        """Answers that showed what an acknowledged webhook had ended, or what never was."""
        return self.answers[STALE] + self.answers[NEVER_TRUE]


class Referee:
    """Judges answers. `max_lag` is the memory tier's, in seconds."""

    def __init__(self, histories: Mapping[str, History], acks: Iterable[Ack], max_lag: float) -> None:
        self._histories = histories
        self._max_lag = max_lag
        self._acks: dict[str, list[Ack]] = {}
        for ack in acks:
            self._acks.setdefault(ack.object_id, []).append(ack)

    def judge(self, samples: Iterable[Sample]) -> Judgement:
        """Judge every read of every answer; an answer is as bad as its worst read."""
        judgement = Judgement()
        for sample in samples:
            verdicts = [(self.verdict(part, sample.began, sample.ended), part) for part in views.shown(sample)]
            if not verdicts:
                continue
            judgement.reads.update(verdict for verdict, _ in verdicts)
            worst, part = max(verdicts, key=lambda one: _ORDER.index(one[0]))
            judgement.answers[worst] += 1
            if worst in {STALE, NEVER_TRUE} and len(judgement.examples) < _EXAMPLES:
                source = part.tier or "the origin"
                judgement.examples.append(f"{worst}: {part.path} showed {part.value!r}, from {source}")
        return judgement

    def verdict(self, part: Shown, began: float, ended: float) -> str:
        """Judge one read of an answer whose handler ran from `began` to `ended`; the kindest version that fits counts.

        Kindest, because two versions may look the same: a customer who went back to an earlier price.
        """
        history = self._histories[part.path]
        # The clock of the fake and ours are one, but its version begins a moment before the write is answered.
        fitting = [one for one in history.versions if one.value == part.value and one.since <= ended]
        verdicts = [self._of_version(one, history, part.tier, began) for one in fitting]
        return min(verdicts, key=_ORDER.index, default=NEVER_TRUE)

    def _of_version(self, version: Version, history: History, tier: str, began: float) -> str:
        if version.ended_by is None or version.until >= began:
            return FRESH
        told = [
            ack.at
            for name in history.objects
            for ack in self._acks.get(name, ())
            if ack.change >= version.ended_by and ack.at < began
        ]
        if not told:
            return AWAITING
        # A copy in memory stands on a look at most max_lag old; that look saw all that was acknowledged before it.
        if tier == MEMORY and min(told) >= began - self._max_lag:
            return WITHIN_LAG
        return STALE


def acks_from(deliveries: Sequence[Mapping[str, Any]]) -> list[Ack]:
    """Return the acknowledged ones among the fake's deliveries."""
    return [Ack(one["object_id"], one["change"], one["acked_at"]) for one in deliveries if one["acked_at"] is not None]


def acks_at_once(histories: Mapping[str, History]) -> list[Ack]:
    """Return acknowledgements as if each change had been announced as it happened: for a half with no cache."""
    return [
        Ack(name, version.ended_by, version.until)
        for history in histories.values()
        for version in history.versions
        for name in history.objects
        if version.ended_by is not None
    ]


def history_from(kind: str, rows: Sequence[Mapping[str, Any]]) -> History:
    """Build the history of one read from the fake's rows (with bodies), oldest first."""
    answered = [row for row in rows if row["status"] == 200]  # noqa: PLR2004 -- HTTP
    ends = {row["change"]: following["change"] for row, following in pairwise(rows)}
    versions = [
        Version(
            views.expected(kind, row["body"]),
            row["since"],
            float("inf") if row["until"] is None else row["until"],
            ends.get(row["change"]),
        )
        for row in answered
    ]
    named: set[str] = set()
    return History(versions, named.union(*(views.objects(kind, row["body"]) for row in answered)))
