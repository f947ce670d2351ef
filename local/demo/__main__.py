"""`python -m local.demo`: run, print, write the report files. Exit code 0 only if the cache never was wrong."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local.demo import page, run, sandbox, table
from local.demo.options import OptionError, from_environ
from local.demo.progress import Progress
from local.process import LocalServerError

if TYPE_CHECKING:
    from types import FrameType

JSON_NAME, HTML_NAME = "demo-report.json", "demo-report.html"
FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def main(directory: Path | None = None) -> int:
    """Run the demo and write both reports into `directory`, the current one by default."""
    # SIGTERM would skip every `finally`: as an exception it ends the servers like Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    progress = Progress()
    try:
        options = from_environ()
        report = sandbox.run(options, progress) if options.api_key else run.run(options, progress)
    except OptionError as error:
        print(f"demo: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        progress.say("interrupted: everything that was started has ended")
        return INTERRUPTED
    except LocalServerError as error:
        print(f"demo: {error}", file=sys.stderr)
        return FAILED
    problems = table.problems(report)
    report["verdict"] = {"passed": not problems, "problems": problems}
    target = directory or Path.cwd()
    (target / JSON_NAME).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (target / HTML_NAME).write_text(page.render(report), encoding="utf-8")
    progress.say(f"\n{table.table(report)}\n\n  wrote {JSON_NAME} and {HTML_NAME}")
    for problem in problems:
        progress.say(f"  FAILED: {problem}")
    return FAILED if problems else 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
