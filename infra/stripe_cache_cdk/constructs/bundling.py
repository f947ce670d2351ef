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
from typing import TYPE_CHECKING, Any, TypeVar, cast

import aws_cdk as cdk
import jsii
from aws_cdk import aws_lambda as lambda_

from stripe_cache_cdk.checks import check_enum
from stripe_cache_cdk.config import DEFAULT_PYTHON, Architecture
from stripe_cache_cdk.constructs.interpreters import find_python
from stripe_cache_cdk.constructs.props import check_fields
from stripe_cache_cdk.constructs.wheels import Wheels, locked, platform_of
from stripe_cache_cdk.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from constructs import Construct

Constructor = TypeVar("Constructor", bound="Callable[..., None]")

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

    def code(self) -> lambda_.Code:
        """Return the asset; it is built at synthesis, unless a folder of the same digest is there."""
        return lambda_.Code.from_asset(
            str(runtime_source().parent),
            asset_hash=self.digest(),
            asset_hash_type=cdk.AssetHashType.CUSTOM,
            # An image is demanded, and never started: the local bundling below either succeeds or raises.
            bundling=cdk.BundlingOptions(image=cdk.DockerImage.from_registry("unused"), local=_LocalBundling(self)),
        )


_failed: list[InfrastructureError] = []


def explains_bundling(make: Constructor) -> Constructor:
    """Wrap the constructor of a function: what stops its bundling is raised as what it is, with the function's path.

    CDK bundles in the middle of that constructor and calls back for it, and an error that crosses the border between
    the two languages arrives as a traceback of both.
    """

    @functools.wraps(make)
    def wrapper(self: Any, scope: Construct, construct_id: str, **options: Any) -> None:
        _failed.clear()
        try:
            make(self, scope, construct_id, **options)
        except RuntimeError:
            if not _failed:
                raise
            error = _failed.pop()
            raise InfrastructureError(f"{scope.node.path}/{construct_id}: {error}") from None

    return cast("Constructor", wrapper)


@jsii.implements(cdk.ILocalBundling)
class _LocalBundling:
    """The bundle behind the interface that CDK calls; the options it passes say nothing the bundle does not know."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def try_bundle(self, output_dir: str, *_args: Any, **_kwargs: Any) -> bool:
        """Fill the folder that CDK made; never falls back to Docker."""
        try:
            self._bundle.build(Path(output_dir))
        except InfrastructureError as error:
            _failed.append(error)
            raise
        return True


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
