"""What a run takes from the environment, checked before anything starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUNDS, BATCH, PROCESSES = 100, 10, 9
RESULTS = Path(__file__).parent / "results" / "latest.json"


class OptionError(Exception):
    """An option of the benchmark cannot work; the message names it, its value and the remedy."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured, and where the figures go.

    Each contender is called `rounds` times `batch` times; `processes` fresh processes are started per import figure.
    """

    rounds: int = ROUNDS
    batch: int = BATCH
    processes: int = PROCESSES
    results: Path = RESULTS

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Options:
        """Read ROUNDS, BATCH, PROCESSES and RESULTS; raises OptionError."""
        environ = os.environ if environ is None else environ
        return cls(
            rounds=_count(environ, "ROUNDS", ROUNDS, most=100_000),
            batch=_count(environ, "BATCH", BATCH, most=10_000),
            processes=_count(environ, "PROCESSES", PROCESSES, most=1_000),
            results=_file(environ, "RESULTS", RESULTS),
        )


def _count(environ: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise OptionError(f"{name} is {text[:40]!r}: use a whole number from 1 to {most}, such as {default}")
    return int(text)


def _file(environ: Mapping[str, str], name: str, default: Path) -> Path:
    text = environ.get(name, "").strip()
    if not text:
        return default
    path = Path(text)
    if path.suffix != ".json" or path.is_dir():
        raise OptionError(f"{name} is {text[:200]!r}: use the path of a .json file")
    if not path.absolute().parent.is_dir():
        raise OptionError(f"{name} is {text[:200]!r}: its directory does not exist; make it first")
    return path
