"""A shared tier as a process sees it that may read and not write, because its role or its Redis user says so.

It finds what others have filled. What it fetches itself stays in its own call: no lease, no fill, no claim. Nor can it
keep copies in memory, because reading the counter that vouches for them may mean making it. Its writes to Stripe never
get this far: the HTTP client refuses them (ReadOnlyError), because nothing here could void what they change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from stripe_cache.core.errors import TierError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_cache.core.ports import Reading, Slot, Tier


class ReadOnlyTier:
    """Passes reads on and refuses everything else without asking, so that no refusal counts as the tier's failure."""

    def __init__(self, tier: Tier) -> None:
        self.inner = tier
        self.name = tier.name

    def read(self, namespace: str, slots: Sequence[Slot]) -> list[Reading]:
        """Read."""
        return self.inner.read(namespace, slots)

    def _refuse(self, *_arguments: object, **_options: object) -> NoReturn:
        raise TierError(
            f"{self.name}: this process is read-only (STRIPE_CACHE_READ_ONLY): it can neither fill nor void; do that "
            "from a function that was attached without read_only"
        )

    touch = settle = store = void = count = claim = release = _refuse
