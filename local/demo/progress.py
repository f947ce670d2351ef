"""The line that lives while the demo runs: rewritten in place in a terminal, one line every few seconds elsewhere."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN_EVERY_SECONDS = 5.0


class Progress:
    """Prints steps and the live line; used from one thread."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._width = 0
        self._last = -PLAIN_EVERY_SECONDS

    def say(self, text: str) -> None:
        """Print lines for good, below the live line if there is one."""
        self._clear()
        print(text, file=self._stream, flush=True)

    def live(self, text: str, at: float) -> None:
        """Show how far the run is; `at` is in seconds since its start."""
        if self._terminal:
            # A line that wraps cannot be rewritten in place.
            text = text[: shutil.get_terminal_size().columns - 1]
            print(f"\r{text.ljust(self._width)}", end="", file=self._stream, flush=True)
            self._width = len(text)
        elif at - self._last >= PLAIN_EVERY_SECONDS:
            self._last = at
            print(text, file=self._stream, flush=True)

    def _clear(self) -> None:
        if self._width:
            print(f"\r{' ' * self._width}\r", end="", file=self._stream)
            self._width = 0


def milliseconds(value: float | None) -> str:
    """Write a duration as people read it."""
    if value is None:
        return "-"
    return f"{value / 1000:.1f} s" if value >= 10_000 else f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"  # noqa: PLR2004 -- where the unit changes


def percent(value: float | None) -> str:
    """Write a share as people read it."""
    return "-" if value is None else f"{value * 100:.1f} %"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out: the first column to the left, the others to the right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "   ".join(cells).rstrip())
    return "\n".join(lines)
