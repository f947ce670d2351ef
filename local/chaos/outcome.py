"""What one fault did, and what of that must not be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.chaos.judge import Verdict
from local.chaos.samples import NONE, Added

if TYPE_CHECKING:
    from local.chaos.faults import Fault


@dataclass
class Outcome:
    """What one fault did. `recovered` is in seconds, None if it never was as before."""

    fault: Fault
    offered: float = 0.0
    done: float = 0.0
    """Reads per second, while the fault lasted."""
    reads: int = 0
    failed: int = 0
    warm: Added = NONE
    added: Added = NONE
    recovered: float | None = None
    unacknowledged: int = 0
    """Events that the webhook function had not confirmed at the end, although everything was well again."""
    untold: bool = False
    """Whether the outbox was not empty at the end, although everything was well again."""
    verdict: Verdict = field(default_factory=Verdict)
    errors: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Invalidations that did not come to pass: confirmed and not shown, or never confirmed."""
        return self.verdict.lost + self.unacknowledged + self.untold

    @property
    def wrongs(self) -> list[str]:
        """Failed reads and lost invalidations, in words."""
        found = []
        if self.failed:
            found.append(f"{self.fault.name}: {self.failed} reads failed, such as {self.errors}")
        if self.verdict.lost:
            found.append(f"{self.fault.name}: {self.verdict.lost} invalidations lost, such as {self.verdict.examples}")
        if self.unacknowledged:
            found.append(f"{self.fault.name}: {self.unacknowledged} events were never acknowledged")
        if self.untold:
            found.append(f"{self.fault.name}: what a tier missed was never told to it, although it is back")
        return found

    @property
    def problems(self) -> list[str]:
        """What must not be, in words: the same, and that things never were as before again."""
        late = f"{self.fault.name}: it never was as before again"
        return [*self.wrongs, *([late] if self.recovered is None else [])]
