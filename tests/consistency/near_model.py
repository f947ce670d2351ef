"""A memory tier as values of the world, for the threads of one process that share it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from consistency.model import ModelTier
from consistency.promises import process_of

from stripe_cache.core.near import Witness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consistency.actors import Actor

    from stripe_cache.core.entry import Stored
    from stripe_cache.core.key import Key
    from stripe_cache.core.ports import Reading, Slot, StoreOutcome, Tier


class _Seen(NamedTuple):
    """A witness as a value: it changes in the hands of whoever reads it, and a world's values must not."""

    tier: str
    standing: tuple[tuple[str, str], ...]
    seen: tuple[str, int] | None


class SharedMemory(ModelTier):
    """What the threads of one process keep. Each step is one of the search, which is finer than its lock."""

    def __init__(self, actor: Actor, shared: Sequence[Tier]) -> None:
        super().__init__(actor, f"memory of {process_of(actor.name)}", ("cus_1", "sub_1"))
        self._shared = {tier.name: tier for tier in shared}

    @property
    def name(self) -> str:
        return "memory"

    def read(self, namespace: str, slots: Sequence[Slot]) -> list[Reading]:
        return [self._revived(reading) for reading in super().read(namespace, slots)]

    def store(self, key: Key, generation: str, stored: Stored, ttl: float) -> StoreOutcome:
        if (held := stored.witness) is not None:
            kept: Any = _Seen(held.tier.name, tuple(sorted(held.standing.items())), held.seen)
            stored = replace(stored, witness=kept)
        return super().store(key, generation, stored, ttl)

    def _revived(self, reading: Reading) -> Reading:
        held: Any = reading.stored and reading.stored.witness
        if reading.stored is None or held is None:
            return reading
        witness = Witness(self._shared[held.tier], dict(held.standing), held.seen)
        return reading._replace(stored=replace(reading.stored, witness=witness))
