"""How long a synthesis takes, in those of an empty CDK app on the same machine: `make bench-synth`.

Three figures per stage: the first synthesis, which bundles the Lambda zip; the next one into the same folder, which
finds it there; and the bundling by itself, in a process that does nothing else. The target: the first takes at most
twice an empty app's plus the bundling, and the next at most twice an empty app's. Processor seconds of the command and
all that it starts, because other programs on the machine stretch those least; the best of ROUNDS.

All of it is with a warm cache of wheels: what the network costs is `make setup`'s to pay.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
EMPTY_APP = """
import aws_cdk as cdk
app = cdk.App()
cdk.CfnResource(cdk.Stack(app, "Empty"), "Topic", type="AWS::SNS::Topic")
app.synth()
"""
BUNDLING = """
import sys
from pathlib import Path
from stripe_cache_cdk.constructs.bundling import Bundle
if len(sys.argv) > 1:
    Bundle().build(Path(sys.argv[1]))
"""
TARGET = 2.0
STAGES = ("dev", "staging", "prod")


@dataclass(frozen=True)
class Figures:
    """Processor seconds of one stage's synthesis."""

    stage: str
    empty: float
    bundling: float
    first: float
    warm: float

    @property
    def warm_ratio(self) -> float:
        """The warm synthesis in those of an empty app."""
        return self.warm / self.empty

    @property
    def first_ratio(self) -> float:
        """The first synthesis in what it may take: those of an empty app, after the bundling."""
        return (self.first - self.bundling) / self.empty

    @property
    def is_within_target(self) -> bool:
        """Whether both ratios are at most the target."""
        return max(self.warm_ratio, self.first_ratio) <= TARGET


def measure(stage: str, rounds: int) -> Figures:
    """Measure one stage; every first synthesis goes into a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty.py").write_text(EMPTY_APP)
        firsts = [folder / f"first{index}" for index in range(rounds)]
        bundled = [folder / f"bundle{index}" for index in range(rounds)]
        warm = folder / "first0"
        python = [sys.executable, "-c", BUNDLING]
        imports = _best(lambda _: _cpu_seconds(python), rounds)
        with_bundle = _best(lambda index: _cpu_seconds([*python, str(_made(bundled[index]))]), rounds)
        return Figures(
            stage=stage,
            empty=_best(
                lambda _: _cpu_seconds(_synth(folder / "e", "--app", f"{sys.executable} {folder / 'empty.py'}")), rounds
            ),
            bundling=with_bundle - imports,
            first=_best(lambda index: _cpu_seconds(_synth(firsts[index], "-c", f"stage={stage}")), rounds),
            warm=_best(lambda _: _cpu_seconds(_synth(warm, "-c", f"stage={stage}")), rounds),
        )


def main(arguments: list[str] | None = None) -> int:
    """Print a table; return 1 when a stage is slower than the target."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "3")))
    parser.add_argument("--stage", action="append", choices=STAGES, help="by default all of them")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args(arguments)
    measured = [measure(stage, options.rounds) for stage in options.stage or STAGES]
    print("stage      empty  bundling   first    warm   first - bundling   warm   (x empty app)")
    for one in measured:
        print(
            f"{one.stage:<8} {one.empty:6.2f}s {one.bundling:8.2f}s {one.first:6.2f}s {one.warm:6.2f}s "
            f"{one.first_ratio:18.2f} {one.warm_ratio:6.2f}   {'ok' if one.is_within_target else f'> {TARGET}'}"
        )
    if options.json:
        figures = [vars(one) | {"first_ratio": one.first_ratio, "warm_ratio": one.warm_ratio} for one in measured]
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if all(one.is_within_target for one in measured) else 1


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _synth(output: Path, *arguments: str) -> list[str]:
    program = str(ROOT / "node_modules" / ".bin" / "cdk")
    return [program, "synth", "--quiet", "--no-notices", "--output", str(output), *arguments]


def _best(run: Callable[[int], float], rounds: int) -> float:
    return min(run(index) for index in range(rounds))


def _cpu_seconds(command: list[str]) -> float:
    before = os.times()
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "PATH": programs}
    )
    if ended.returncode:
        raise SystemExit(f"{' '.join(command[:3])} failed:\n{ended.stderr[-2_000:]}")
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    sys.exit(main())
