"""The verdict on a storm, from its record alone: what processes did, and what Stripe's objects were, when.

    PYTHONPATH=.:tests:runtime python -m consistency.storm_verdict RECORD.json

judges a recorded storm again, without a server: the same violations, as often as one likes.
"""

from __future__ import annotations

import json
import sys
from collections import Counter as Tally
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Deed:
    """Something a process did: what, between when and when, and what it said."""

    kind: str
    path: str
    tag: str
    result: dict[str, Any]


@dataclass
class Record:
    """Everything a verdict is made of. `takeovers` are pairs: the replica's last write, and when it had taken over."""

    seed: int
    max_lag: float
    deeds: list[Deed]
    histories: dict[str, list[dict[str, Any]]]
    takeovers: list[tuple[float, float]] = field(default_factory=list)

    def save(self, path: Path) -> Path:
        path.write_text(json.dumps(asdict(self)))
        return path

    @classmethod
    def load(cls, path: Path) -> Record:
        raw = json.loads(path.read_text())
        return cls(**raw | {"deeds": [Deed(**deed) for deed in raw["deeds"]]})


class Verdict:
    """Holds every answer of a record against the promises."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.tally: Tally[str] = Tally()
        self.violations = list(self._violations())

    def _violations(self) -> Iterator[str]:
        deeds = self._record.deeds
        marks = [deed for deed in deeds if deed.kind in {"write", "event"}]
        for path, rows in self._record.histories.items():
            first = [(mark, effect) for mark in marks if (effect := _effect(mark, rows)) is not None]
            by_digest = {row["digest"]: row for row in rows}
            for deed in deeds:
                if deed.kind == "read" and deed.path == path:
                    yield from self._wrong(deed, by_digest.get(deed.result["digest"]), first)

    def _wrong(self, deed: Deed, row: dict[str, Any] | None, marks: list[tuple[Deed, float]]) -> Iterator[str]:
        read = deed.result
        self.tally[f"answered by {read['tier'].partition(';')[0]}"] += 1
        if row is None or row["since"] > read["ended"]:
            yield f"{deed.path}: an answer that Stripe has not given"
            return
        for mark, effect in marks:
            done = mark.result
            own = done["pid"] == read["pid"]
            if not own and not done["told"]:
                continue
            lag = self._record.max_lag if read["tier"].startswith("memory") and not own else 0.0
            # Without an answer nobody knew when it would take effect; what came later than its end rests on its hold.
            if read["began"] < done["ended"] + lag or (effect > done["ended"] and "error" in done):
                continue
            # The read began after this was confirmed: the answer must have been true at some moment since.
            since = effect if mark.kind == "write" else max(effect, done["began"])
            if row["until"] is not None and row["until"] <= since:
                if self._not_promised(deed, mark):
                    self.tally["lost in a takeover, as is not promised"] += 1
                    continue
                late = read["began"] - done["ended"]
                yield (
                    f"{deed.path}: {read['tier']} gave process {read['pid']} an answer that had ended "
                    f"{since - row['until']:.3f} s before the {mark.kind} {mark.tag} of process {done['pid']}, "
                    f"which was confirmed {late:.3f} s before the read"
                )

    def _not_promised(self, deed: Deed, mark: Deed) -> bool:
        """Tell whether a replica of Redis that took over may have brought this back, see `docs/consistency.md`."""
        tier, done = deed.result["tier"].partition(";")[0], mark.result
        embeds = "expand" in deed.path or "?" in deed.path
        for behind, over in self._record.takeovers:
            in_the_gap = done["began"] <= over and done["ended"] >= behind
            # Later ones too: of answers that embed and were under way, and where the counter came round.
            later = done["began"] > behind and (embeds or tier == "memory")
            if tier in {"redis", "memory"} and deed.result["ended"] >= behind and (in_the_gap or later):
                return True
        return False


def _effect(mark: Deed, rows: list[dict[str, Any]]) -> float | None:
    """Return when the change took effect on this path; None if it never showed there."""
    return next((row["since"] for row in rows if mark.tag in str(row["body"])), None)


if __name__ == "__main__":
    judged = Verdict(Record.load(Path(sys.argv[1])))
    sys.stdout.write("\n".join([*judged.violations, f"{dict(judged.tally)}, {len(judged.violations)} violations", ""]))
    sys.exit(bool(judged.violations))
