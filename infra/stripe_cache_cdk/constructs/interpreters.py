"""Find a Python of the version that Lambda will run, to compile byte code with.

Byte code of another version is ignored by the interpreter, so only an exact match will do. Three places are looked at:
PATH, pyenv, and the interpreters that uv manages. A name proves nothing, so every candidate is asked for its version.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stripe_cache_cdk.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterator


@functools.cache
def find_python(version: str) -> Path | None:
    """Return an interpreter whose major.minor is `version`, or None; looked up once per process."""
    return next((path for path in _candidates(version) if _is_version(path, version)), None)


@functools.cache
def find_uv() -> Path:
    """Return the uv program: beside this Python, else on PATH. Raises InfrastructureError when there is none."""
    beside = Path(sys.executable).with_name("uv")
    if beside.exists():
        return beside
    on_path = shutil.which("uv")
    if on_path is None:
        raise InfrastructureError("bundling needs `uv`, which is not on PATH: run `pip install uv`")
    return Path(on_path)


def install_python(version: str) -> str:
    """Have uv download an interpreter of this version where none is found; return what to tell of it, or nothing.

    Not having one is no failure: zips are then bundled without byte code, and synthesis says so.
    """
    if find_python(version) is not None:
        return ""
    fetched = subprocess.run(
        [find_uv(), "python", "install", "--quiet", "--no-bin", version], capture_output=True, text=True, check=False
    )
    find_python.cache_clear()
    if find_python(version) is not None:
        return f"installed Python {version} among those that uv manages, to compile byte code with"
    told = " ".join(fetched.stderr.split())
    return f"no Python {version} here and uv could not fetch one, so zips will have no byte code: {told}"


def _candidates(version: str) -> Iterator[Path]:
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        yield Path(sys.executable)
    roots = sorted({Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv"), Path.home() / ".pyenv"})
    for name in os.environ.get("PATH", "").split(os.pathsep):
        folder = Path(name)
        # Shims exist for versions that are not active, too, and take ten times an interpreter's time to say so.
        if name and not any(folder == root / "shims" for root in roots):
            yield folder / f"python{version}"
    for root in roots:
        yield from sorted(root.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)
    managed = subprocess.run(
        [find_uv(), "python", "find", "--managed-python", "--no-python-downloads", "--offline", version],
        capture_output=True,
        text=True,
        check=False,
    )
    if managed.returncode == 0:
        yield Path(managed.stdout.strip())


def _is_version(path: Path, version: str) -> bool:
    if not os.access(path, os.X_OK):
        return False
    try:
        told = subprocess.run(
            [path, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.returncode == 0 and told.stdout.strip() == version
