"""Make the Lambda zip: the runtime, what it requires, and byte code, without Docker.

The folder is a function of the lock file, the sources, the Python version and the processor, byte for byte, so its name
in the cloud assembly is a digest of those and a second synthesis finds the first one's folder. Byte code takes an
import of the whole runtime from 690 ms to 210 ms on a cold start; it is marked as never to be checked against the
sources, because the zip gives every file the same date.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stripe_cache_cdk.checks import check_enum
from stripe_cache_cdk.config import DEFAULT_PYTHON, Architecture
from stripe_cache_cdk.constructs.bundled_code import BundledCode
from stripe_cache_cdk.constructs.interpreters import find_python
from stripe_cache_cdk.constructs.props import check_fields
from stripe_cache_cdk.constructs.wheels import Wheels, locked, platform_of
from stripe_cache_cdk.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Changes whenever the same inputs are turned into other bytes, so that no synthesis picks up an older folder.
FORMAT = "2"
# Where Lambda unpacks the zip: tracebacks and byte code name that place and not the machine that bundled.
TASK_ROOT = "/var/task"
# What installers write about the machine they ran on, or scripts that nothing in a Lambda starts.
DROPPED_METADATA = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")
IGNORED = shutil.ignore_patterns("__pycache__", "*.py[co]", ".*")


def runtime_source() -> Path:
    """Return the folder of the package `stripe_cache`, in a checkout or beside this installed package."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent / "stripe_cache", package.parents[1] / "runtime" / "stripe_cache"):
        if (folder / "__init__.py").exists():
            return folder
    raise InfrastructureError(f"the runtime's sources are not beside {package}: reinstall stripe-cache[cdk]")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One zip's contents: the runtime, the locked requirements, and `sources`: folders copied to the zip's root.

    `extras` are those of the package stripe-cache that functions may need (`encryption`); `requirements`, a lock file
    with hashes, replaces the runtime's own and must contain it.
    """

    python: str = DEFAULT_PYTHON
    architecture: Architecture = Architecture.ARM64
    requirements: Path | None = None
    extras: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        check_enum("architecture", self.architecture, Architecture)

    @property
    def wheels(self) -> Wheels:
        """What is installed. Raises InfrastructureError for an unknown extra."""
        locks = (self.requirements or locked(), *map(locked, sorted(set(self.extras))))
        return Wheels(python=self.python, architecture=self.architecture, locks=locks)

    @property
    def seals(self) -> bool:
        """Whether what sealing entries with a KMS key needs is among it."""
        return any("cryptography==" in lock.read_text(encoding="utf-8") for lock in self.wheels.locks)

    @property
    def compiles(self) -> bool:
        """Whether an interpreter of the target version is here."""
        return find_python(self.python) is not None

    def digest(self) -> str:
        """Return 64 hexadecimal digits that name these contents."""
        platform = platform_of(self.python, self.architecture)
        told = hashlib.sha256(f"{FORMAT} {self.python} {platform} {self.compiles}".encode())
        for lock in self.wheels.locks:
            told.update(lock.read_bytes())
        for root in (runtime_source(), *self.sources):
            told.update(_folder_digest(root).encode())
        return told.hexdigest()

    def build(self, output: Path) -> None:
        """Fill the folder. Raises InfrastructureError when a requirement cannot be installed."""
        self.wheels.install(output)
        shutil.copytree(runtime_source(), output / "stripe_cache", ignore=IGNORED, dirs_exist_ok=True)
        for folder in self.sources:
            shutil.copytree(folder, output, ignore=IGNORED, dirs_exist_ok=True)
        _drop_machine_traces(output)
        interpreter = find_python(self.python)
        if interpreter is not None:
            _compile(interpreter, output)

    def code(self) -> BundledCode:
        """Return what `code=` of a function takes; the function must run on the same Python and processor."""
        return BundledCode(self, folder=runtime_source().parent)


@functools.cache
def _folder_digest(root: Path) -> str:
    told = hashlib.sha256()
    for path in _files(root):
        told.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        told.update(path.read_bytes())
    return told.hexdigest()


def _files(root: Path) -> Iterable[Path]:
    """Yield what `build` would copy of this folder, in an order that no file system changes."""
    for folder, names, files in os.walk(root):
        skipped = IGNORED(folder, [*names, *files])
        names[:] = sorted(set(names) - skipped)
        for name in sorted(set(files) - skipped):
            yield Path(folder) / name


def _drop_machine_traces(output: Path) -> None:
    shutil.rmtree(output / "bin", ignore_errors=True)
    (output / ".lock").unlink(missing_ok=True)
    for metadata in output.glob("*.dist-info"):
        for name in DROPPED_METADATA:
            (metadata / name).unlink(missing_ok=True)


def _compile(interpreter: Path, output: Path) -> None:
    # The seed fixes the order in which constant sets are written; one process fixes how shared constants are.
    compiled = subprocess.run(
        [
            *(interpreter, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"),
            *("-s", output, "-p", TASK_ROOT, output),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    if compiled.returncode != 0:
        raise InfrastructureError(f"byte code of {output} could not be compiled: {compiled.stdout.strip()}")
