"""Mutants of the path of lost invalidations: outbox, replay, debts, and the marks of events that were applied."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

from consistency.messengers import Parts
from consistency.mutants import Mutant

from stripe_cache.core.applying import Applier
from stripe_cache.core.debts import Debts
from stripe_cache.core.descent import Tiers
from stripe_cache.core.errors import TierError
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.core.outbox import Missed, encoded
from stripe_cache.core.replay import Entry, Replayer
from stripe_cache.tiers import outbox_dynamodb
from stripe_cache.tiers.outbox_dynamodb import DynamoDBOutbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_cache.core.ports import Tier


class ForgetsFirst(Replayer):
    """An entry is forgotten when it is taken up, and told then."""

    def _tell(self, namespace: str, tiers: tuple[str, ...], entries: list[Entry], *rest: Any) -> None:
        self._outbox.forget(namespace, entries)
        super()._tell(namespace, tiers, entries, *rest)


class ForgetsWhatFailed(Replayer):
    """An entry is forgotten after it was told, whether the tiers confirmed or not."""

    def _tell(self, namespace: str, tiers: tuple[str, ...], entries: list[Entry], *rest: Any) -> None:
        try:
            super()._tell(namespace, tiers, entries, *rest)
        except TierError:
            self._outbox.forget(namespace, entries)


class _Sends(DynamoDBOutbox):
    """Sends another update in place of one of its own."""

    own: tuple[str, str]
    other: tuple[str, str]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        update = self._table.update

        def sent(pk: str, expression: str, values: dict[str, Any], *, condition: str = "") -> Any:
            if (expression, condition) == self.own:
                expression, condition = self.other
            return update(pk, expression, values, condition=condition)

        self._table.update = sent  # type: ignore[assignment,method-assign]


class ForgetsAll(_Sends):
    """What is forgotten is the item, whatever has been put in since it was read."""

    own = ("DELETE q :q", "attribute_exists(q)")
    other = ("REMOVE q", "attribute_exists(q)")


class ForgetsWhateverWasCollapsed(_Sends):
    """What stands for everything is forgotten without a look at its word."""

    own = ("REMOVE g", "g = :g")
    other = ("REMOVE g", "attribute_exists(g)")


class KeepsTheLast(_Sends):
    """An entry is put in place of those that are there."""

    own = ("SET exp = :x ADD q :q", "attribute_not_exists(q) OR size(q) < :most")
    other = ("SET exp = :x, q = :q", "")


class ReplaysNearestFirst(Invalidator):
    """A replay tells Redis before DynamoDB."""

    def replay(self, namespace: str, records: Sequence[str], tiers: Sequence[str], *rest: Any) -> bool:
        turned = Tiers(self._tiers.memory, tuple(reversed(self._tiers.shared)))
        return Invalidator(turned, self._debts, self._meter).replay(namespace, records, tiers, *rest)


class TellsNearestOnly(Invalidator):
    """A replay tells Redis, and takes DynamoDB for told."""

    def replay(self, namespace: str, records: Sequence[str], tiers: Sequence[str], *rest: Any) -> bool:
        return super().replay(namespace, records, [name for name in tiers if name == "redis"], *rest)


class TakesItForKept(Invalidator):
    """What was to be put into an outbox counts as queued, whether one took it or not."""

    def _hand_over(self, missed: Missed, failed: dict[str, str]) -> bool:
        del missed, failed
        return True


class ForgivesUnpaid(Debts):
    """A tier that answers again is owed nothing any more."""

    def _pay(self, tier: Tier) -> bool:
        for namespace, records in list(self._owed.get(tier.name, {}).items()):
            try:
                tier.count(namespace)
            except TierError:
                return False
            self._forgive(tier, namespace, dict(records))
        return True


class MarksFirst(Parts):
    """An event is marked before its records are void."""

    def apply(self, records: Sequence[str], *, cause: Any, **how: Any) -> str:
        engine = self.cache.engine
        namespaces = engine.planner.namespaces()
        known = engine.seen.known(namespaces, [cause.event])
        engine.seen.mark(namespaces, [cause.event])
        if known:
            return "repeated"
        with mock.patch.object(engine.seen, "known", return_value=set()):
            return super().apply(records, cause=cause, **how)


class MarksTheQueued(Parts):
    """An event is marked although a tier missed its void."""

    def apply(self, records: Sequence[str], *, cause: Any, **how: Any) -> str:
        word = super().apply(records, cause=cause, **how)
        if word == "queued":
            self.cache.engine.seen.mark(self.cache.engine.planner.namespaces(), [cause.event])
        return word


def _same_words(missed: Missed, names: list[str]) -> str:
    part = Missed(missed.namespace, tuple(names), missed.tiers, missed.cause)
    return json.dumps(json.loads(encoded(part)), separators=(",", ":"))


def _sweep_marks_first(self: Applier, place: Any, group: Any, may_go_on: Any, real: Any = Applier._apply_group) -> bool:
    engine = self._engine
    namespaces = engine.planner.namespaces(None, livemode=None)
    assert engine.seen is not None
    known = engine.seen.known(namespaces, [one.event_id for one in group])
    engine.seen.mark(namespaces, [one.event_id for one in group])
    with mock.patch.object(engine.seen, "known", return_value=known):
        done: bool = real(self, place, group, may_go_on)
    return done


REPLAY_MUTANTS = (
    Mutant("an entry is forgotten before it was told", "dying replayer", (("replayer", ForgetsFirst),)),
    Mutant("an entry of a write is forgotten before it was told", "queued write", (("replayer", ForgetsFirst),)),
    Mutant("an entry is forgotten although telling failed", "failing replay", (("replayer", ForgetsWhatFailed),)),
    Mutant("a replay clears the whole outbox", "second event", (("outbox", ForgetsAll),)),
    Mutant("an entry replaces those that are there", "second event", (("outbox", KeepsTheLast),)),
    Mutant(
        "two entries that say the same are one",
        "second event",
        (),
        partial(mock.patch.object, outbox_dynamodb, "_entry", _same_words),
    ),
    Mutant(
        "whatever stands for everything is forgotten", "collapsed again", (("outbox", ForgetsWhateverWasCollapsed),)
    ),
    Mutant(
        "memories do not learn of a replay of everything",
        "collapsed, memory",
        (),
        partial(mock.patch.object, Invalidator, "count_as_told"),
    ),
    Mutant("a replay tells Redis before DynamoDB", "queue", (("invalidator", ReplaysNearestFirst),)),
    Mutant("a replay tells the nearest tier only", "queue twice", (("invalidator", TellsNearestOnly),)),
    Mutant("what no outbox took counts as queued", "replay after an outage", (("invalidator", TakesItForKept),)),
    Mutant("debts are forgiven when the tier answers", "debts", (("debts", ForgivesUnpaid),)),
    Mutant("an event is marked before its void", "delivered twice", (("parts", MarksFirst),)),
    Mutant("an event is marked although it was queued", "delivered twice, queued", (("parts", MarksTheQueued),)),
    Mutant(
        "a sweep marks events before their void",
        "swept",
        (),
        partial(mock.patch.object, Applier, "_apply_group", _sweep_marks_first),
    ),
)
