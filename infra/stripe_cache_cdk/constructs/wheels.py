"""Which wheels go into a Lambda zip, and how they get there: by hash, for Lambda's platform and not for this one.

uv's cache answers without the network, and the index is asked only for what that lacks. `python -m
stripe_cache_cdk.prefetch` fills the cache, so that synthesis needs no network afterwards.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stripe_cache_cdk.config import PYTHONS, Architecture
from stripe_cache_cdk.constructs.interpreters import find_uv
from stripe_cache_cdk.errors import InfrastructureError

# Lambda's Python 3.12 and newer run on Amazon Linux 2023, with glibc 2.34; 3.11 on Amazon Linux 2, with glibc 2.26. Of
# the names that uv knows, these are the newest that both promise to run.
AMAZON_LINUX_2 = ("3.11",)
PROCESSORS = {Architecture.ARM64: "aarch64", Architecture.X86_64: "x86_64"}
EXTRAS = ("encryption",)
PINNED = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.!+]*\w")
REMEDY = (
    "with network, run `python -m stripe_cache_cdk.prefetch` once, or synthesize once; without, every line needs a "
    "wheel for that platform in uv's cache"
)


def platform_of(python: str, architecture: Architecture) -> str:
    """Return the platform, by uv's name, that Lambda runs this Python on."""
    glibc = "manylinux2014" if python in AMAZON_LINUX_2 else "manylinux_2_28"
    return f"{PROCESSORS[architecture]}-{glibc}"


def locked(extra: str = "") -> Path:
    """Return the lock file of what ships beside the runtime, or of what an extra adds to it.

    From a checkout or from this installed package; raises InfrastructureError for an extra that there is not.
    """
    if extra and extra not in EXTRAS:
        raise InfrastructureError(f"extras={extra!r} is unknown: choose of {', '.join(EXTRAS)}")
    package = Path(__file__).resolve().parents[1]
    name = f"requirements-{extra}.txt" if extra else "requirements.txt"
    for path in (package / f"runtime-{name}", package.parents[1] / "runtime" / name):
        if path.exists():
            return path
    raise InfrastructureError(f"the runtime's {name} is not in {package}: reinstall stripe-cache[cdk]")


@dataclass(frozen=True, kw_only=True)
class Wheels:
    """What is installed into one zip: lock files with hashes, for one Python on one processor."""

    python: str
    architecture: Architecture
    locks: tuple[Path, ...]

    def install(self, folder: Path, *, link: str = "copy") -> None:
        """Install into the folder, without byte code; `link` is uv's link mode. Raises InfrastructureError."""
        command: list[str | Path] = [
            *(find_uv(), "pip", "install", "--quiet", "--color", "never", "--no-config"),
            *("--require-hashes", "--only-binary", ":all:"),
            *("--python-platform", platform_of(self.python, self.architecture), "--python-version", self.python),
            *("--no-compile-bytecode", "--link-mode", link, "--target", folder),
            *(part for lock in self.locks for part in ("--requirement", lock)),
        ]
        offline = _uv(*command, "--offline")
        if offline and (online := _uv(*command)):
            culprit = PINNED.search(online) or PINNED.search(offline)
            raise InfrastructureError(
                f"{culprit[0] if culprit else 'a requirement'} of {', '.join(lock.name for lock in self.locks)} could "
                f"not be installed for Python {self.python} on {self.architecture} ({online}): {REMEDY}"
            )


def _uv(*command: str | Path) -> str:
    """Run uv; return what went wrong as one line, or nothing."""
    # uv brings certificates of its own; behind a proxy that inspects TLS only the system's will do.
    environment = {"UV_SYSTEM_CERTS": "true", "UV_HTTP_RETRIES": "1", **os.environ}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if ended.returncode == 0:
        return ""
    return " ".join(ended.stderr.split()) or f"uv ended with code {ended.returncode}"


def default_wheels(python: str, *, extras: tuple[str, ...] = EXTRAS) -> list[Wheels]:
    """Return what the zips of this package's own functions may need for a Python version, on both processors."""
    if python not in PYTHONS:
        raise InfrastructureError(f"python={python!r}: choose one of {', '.join(PYTHONS)}")
    locks = (locked(), *map(locked, extras))
    return [Wheels(python=python, architecture=one, locks=locks) for one in Architecture]
