"""`python -m local.chaos`: every fault in turn, a table, and exit code 0 only if nothing failed or was lost."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

from local.chaos import flood, report
from local.chaos.options import OptionError, from_environ
from local.chaos.run import Experiment
from local.chaos.world import Servers
from local.process import LocalServerError

if TYPE_CHECKING:
    from types import FrameType

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def main() -> int:
    """Run what was asked for."""
    # SIGTERM would skip every `finally`: as an exception it ends the servers like Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    begun = time.monotonic()
    try:
        options = from_environ()
        outcomes = []
        with Servers(options.seed) as servers:
            print(report.HEADER, flush=True)
            for fault in options.faults:
                outcomes.append(Experiment(servers, fault, options.seconds).run())
                print(report.row(outcomes[-1]), flush=True)
            flooded = flood.run(servers, options.seconds * 2) if options.flooded else None
    except OptionError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted: everything that was started has ended")
        return INTERRUPTED
    except LocalServerError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return FAILED
    problems = report.problems(outcomes)
    if flooded is not None:
        print(flooded.text())
        problems += flooded.problems
    for problem in problems:
        print(f"FAILED: {problem}")
    print(f"{len(outcomes)} faults in {time.monotonic() - begun:.0f} s, seed {options.seed}: {len(problems)} problems")
    return FAILED if problems else 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
