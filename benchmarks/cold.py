"""What a fresh process pays before its first answer: imports, and the first hit from Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.ours import settings
from benchmarks.stage import API_KEY

if TYPE_CHECKING:
    from benchmarks.stage import Stage

WATCHED = ("stripe", "boto3", "botocore", "redis", "hiredis", "requests")

_IMPORT = """
import sys, time
began = time.perf_counter()
import {module}
print(time.perf_counter() - began)
"""
# The first line prepares what the caller has before the clock starts; sys.path is what the parent had.
_FIRST_HIT = """
import json, sys, time
path, options, key, watched = json.loads(sys.argv[1])
began = time.perf_counter()
from stripe_cache import Settings, StripeCache
answer = StripeCache(Settings(**options)).get(path, api_key=key)
answer.data
print(json.dumps([time.perf_counter() - began, str(answer.status), [name for name in watched if name in sys.modules]]))
"""


@dataclass(frozen=True, slots=True)
class Cold:
    """Milliseconds in a fresh process, the median of several."""

    name: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Import costs, and which of the watched packages a first hit from Redis had loaded."""

    costs: tuple[Cold, ...]
    loaded: tuple[str, ...]


def measure_cold(stage: Stage, processes: int) -> ColdStart:
    """Start fresh processes in turns; the last figure is import, construction, connection and answer together."""
    shape = stage.shapes[0]
    # As in a Lambda that may also read DynamoDB but need not.
    options = json.dumps([shape.path(0), asdict(settings(stage)), API_KEY, WATCHED])
    programs = {f"import {name}": (_IMPORT.format(module=name), "") for name in ("redis", "stripe_cache", "stripe")}
    programs["stripe_cache: first get() from Redis"] = (_FIRST_HIT, options)
    taken: dict[str, list[float]] = {name: [] for name in programs}
    loaded: set[str] = set()
    for _ in range(processes):
        for name, (program, argument) in programs.items():
            said: Any = json.loads(_run(program, argument))
            if isinstance(said, list):
                seconds, status, modules = said
                if not status.endswith("detail=redis"):
                    raise RuntimeError(
                        f"the first get() of a fresh process was to hit Redis, and its answer says {status}"
                    )
                loaded.update(modules)
            else:
                seconds = said
            taken[name].append(seconds * 1000)
    return ColdStart(tuple(Cold(name, median(times)) for name, times in taken.items()), tuple(sorted(loaded)))


def _run(program: str, argument: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", program, argument]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"a fresh process failed:\n{done.stderr[-2000:]}")
    return done.stdout
