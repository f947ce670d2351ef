"""Mutants of what a hold keeps from being filled: its own tier, all others, and answers that embed the record."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from unittest import mock

from consistency.mutants import Mutant, accepts, real_judge

from stripe_cache.core import protocol
from stripe_cache.core.lookup import Lookup
from stripe_cache.core.ports import Counter, State, Tier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stripe_cache.core.protocol import Inside

_real_look_inside = protocol.look_inside


@contextlib.contextmanager
def ignores_holds_inside() -> Iterator[None]:
    """Let an answer be filled although a write on what it embeds may be in flight."""

    def judge(state: State, leased: Counter, after: Counter, now: float) -> bool:
        del now
        return real_judge(State(state.generation, state.stamp), leased, after, 0.0)

    with accepts(judge)(), mock.patch.object(protocol, "look_inside", _sees_no_hold):
        yield


def _sees_no_hold(*arguments: Any) -> Inside:
    return _real_look_inside(*arguments)._replace(is_held=False)


class LeasesElsewhere(Lookup):
    """A hold in one tier keeps the reader from filling that tier only."""

    def _take_leases(self, tier: Tier, namespace: str, misses: Any, now: float) -> None:
        kept = [(miss, [*miss.leases], miss.memory_lease) for miss in misses]
        super()._take_leases(tier, namespace, misses, now)
        for miss, leases, memory_lease in kept:
            if miss.is_held:
                miss.is_held, miss.leases, miss.memory_lease = False, leases, memory_lease


HOLD_MUTANTS = (
    Mutant("an embedded record's hold is ignored", "crash", (), ignores_holds_inside),
    Mutant("a hold in DynamoDB does not keep Redis from being filled", "hold lost", (("lookup", LeasesElsewhere),)),
    Mutant(
        "an embedded record's hold in DynamoDB does not keep Redis from being filled",
        "embedded hold lost",
        (),
        lambda: mock.patch.object(protocol, "look_inside", _sees_no_hold),
    ),
)
