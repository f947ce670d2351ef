"""`make bench`: warm reads from every tier beside their floors and what a team would use instead, in one run."""

from __future__ import annotations

import json
import sys

from benchmarks.cold import measure_cold
from benchmarks.floors import floors
from benchmarks.machine import load, machine
from benchmarks.measure import Contender, interleave
from benchmarks.options import OptionError, Options
from benchmarks.ours import ours
from benchmarks.peers import peers
from benchmarks.report import as_json, as_text
from benchmarks.stage import Stage


def main() -> int:
    """Run, print the tables and write the JSON; 2 for an option that cannot work."""
    try:
        options = Options.from_env()
    except OptionError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        document = run(options)
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    print(as_text(document))
    options.results.parent.mkdir(exist_ok=True)
    options.results.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


def run(options: Options) -> dict[str, object]:
    """Measure on servers of its own, and return the document."""
    load_before = load()
    with Stage() as stage:
        contenders: list[Contender] = []
        sizes = {}
        for shape in stage.shapes:
            bodies = stage.bodies(shape)
            sizes[shape.name] = len(next(iter(bodies.values())))
            contenders += [*floors(stage, shape, bodies), *ours(stage, shape, bodies), *peers(stage, shape)]
        # From here on an answer that no cache holds is an error, and would end the run.
        stage.close_origin()
        _expect_same_answers(contenders)
        interleave(contenders, rounds=3, batch=options.batch)
        timings = interleave(contenders, options.rounds, options.batch)
        cold = measure_cold(stage, options.processes)
        return as_json(options, machine(), load=load_before, sizes=sizes, timings=timings, cold=cold)


def _expect_same_answers(contenders: list[Contender]) -> None:
    """Make sure that contenders of a shape read the same objects in the same order."""
    for index in range(3):
        for shape in {one.shape for one in contenders}:
            ids = {one.name: one.call(index)["id"] for one in contenders if one.shape == shape}
            if len(set(ids.values())) != 1:
                raise RuntimeError(f"contenders read different objects: {ids}")


if __name__ == "__main__":
    sys.exit(main())
