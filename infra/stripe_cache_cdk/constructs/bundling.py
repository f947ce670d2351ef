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
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import jsii
from aws_cdk import aws_lambda as lambda_

from stripe_cache_cdk.config import Architecture
from stripe_cache_cdk.constructs.interpreters import find_python, find_uv
from stripe_cache_cdk.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Amazon Linux 2023, which Lambda's Python 3.12 and newer run on, has glibc 2.34: wheels for 2.28 run there.
PLATFORMS = {
    Architecture.ARM64: "aarch64-manylinux_2_28",
    Architecture.X86_64: "x86_64-manylinux_2_28",
}
# Changes whenever the same inputs are turned into other bytes, so that no synthesis picks up an older folder.
FORMAT = "1"
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


def runtime_requirements() -> Path:
    """Return the lock file of what ships beside the runtime, from a checkout or this installed package."""
    package = Path(__file__).resolve().parents[1]
    for path in (package / "runtime-requirements.txt", package.parents[1] / "runtime" / "requirements.txt"):
        if path.exists():
            return path
    raise InfrastructureError(f"the runtime's requirements are not in {package}: reinstall stripe-cache[cdk]")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One zip's contents: the runtime, the locked requirements, and `sources`: folders copied to the zip's root."""

    python: str = "3.13"
    architecture: Architecture = Architecture.ARM64
    requirements: Path | None = None
    sources: tuple[Path, ...] = ()

    @property
    def lock(self) -> Path:
        """The requirements file, with hashes, that is installed."""
        return self.requirements or runtime_requirements()

    @property
    def compiles(self) -> bool:
        """Whether an interpreter of the target version is here."""
        return find_python(self.python) is not None

    def digest(self) -> str:
        """Return 64 hexadecimal digits that name these contents."""
        told = hashlib.sha256(f"{FORMAT} {self.python} {self.architecture} {self.compiles}".encode())
        told.update(self.lock.read_bytes())
        for root in (runtime_source(), *self.sources):
            told.update(_folder_digest(root).encode())
        return told.hexdigest()

    def build(self, output: Path) -> None:
        """Fill the folder. Raises InfrastructureError when a requirement cannot be installed."""
        self._install(output)
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

    def _install(self, output: Path) -> None:
        command: list[str | Path] = [
            *(find_uv(), "pip", "install", "--quiet", "--no-config", "--require-hashes", "--only-binary", ":all:"),
            *("--python-platform", PLATFORMS[self.architecture], "--python-version", self.python),
            *("--no-compile-bytecode", "--link-mode", "copy", "--target", output, "--requirement", self.lock),
        ]
        # The cache of uv answers without the network; only what it lacks is asked for.
        offline = subprocess.run([*command, "--offline"], capture_output=True, text=True, check=False)
        if offline.returncode == 0:
            return
        online = subprocess.run(command, capture_output=True, text=True, check=False)
        if online.returncode != 0:
            raise InfrastructureError(
                f"{self.lock} for Python {self.python} on {self.architecture} could not be installed: "
                f"{online.stderr.strip()}: every line needs a wheel for that platform, in uv's cache or from the index"
            )


@jsii.implements(cdk.ILocalBundling)
class _LocalBundling:
    """The bundle behind the interface that CDK calls; the options it passes say nothing the bundle does not know."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def try_bundle(self, output_dir: str, *_args: Any, **_kwargs: Any) -> bool:
        """Fill the folder that CDK made; never falls back to Docker."""
        self._bundle.build(Path(output_dir))
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
