"""What the person at the terminal may choose, read from make's variables or the environment."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.chaos.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.chaos.faults import Fault

SHORTEST, LONGEST, DEFAULT_SECONDS = 1.0, 600.0, 5.0
DEFAULT_SEED = 20261120
FLOOD = "flood"


class OptionError(Exception):
    """A value cannot be used; the message is one sentence that names it and the remedy."""


@dataclass(frozen=True)
class Options:
    """One run: each of `faults` lasts `seconds`."""

    faults: tuple[Fault, ...] = FAULTS
    seconds: float = DEFAULT_SECONDS
    seed: int = DEFAULT_SEED
    flooded: bool = True
    """Whether to offer 2,000 reads per second at the end."""


def from_environ(environ: Mapping[str, str] | None = None) -> Options:
    """Read SECONDS, SEED and FAULT (names or their beginnings, with commas); raises OptionError."""
    environ = os.environ if environ is None else environ
    asked = environ.get("FAULT", "").replace(",", " ").split()
    seconds, seed = environ.get("SECONDS", "").strip(), environ.get("SEED", "").strip()
    faults = tuple(fault for fault in FAULTS if not asked or any(fault.name.startswith(one) for one in asked))
    names = [fault.name for fault in FAULTS] + [FLOOD]
    for one in asked:
        if not any(name.startswith(one) for name in names):
            near = difflib.get_close_matches(one, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            raise OptionError(f"FAULT {one!r} is unknown: {hint}")
    try:
        lasts = float(seconds or DEFAULT_SECONDS)
    except ValueError:
        lasts = 0.0
    if not SHORTEST <= lasts <= LONGEST:
        raise OptionError(f"SECONDS is {seconds!r}: use {SHORTEST:g} to {LONGEST:g}, as in `make chaos SECONDS=5`")
    if seed and not seed.isdecimal():
        raise OptionError(f"SEED is {seed!r}: use a whole number, as in `make chaos SEED=1`")
    flooded = not asked or any(FLOOD.startswith(one) for one in asked)
    return Options(faults, lasts, int(seed or DEFAULT_SEED), flooded)
