"""Fetch what bundling needs, so that synthesis needs no network: `python -m stripe_cache_cdk.prefetch [3.13 ...]`.

Fills uv's cache with the locked wheels for both processors, and asks uv for an interpreter to compile byte code with
where there is none. Without an argument that is for the Python version that functions have by default.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from stripe_cache_cdk.config import DEFAULT_PYTHON
from stripe_cache_cdk.constructs.interpreters import install_python
from stripe_cache_cdk.constructs.wheels import default_wheels
from stripe_cache_cdk.errors import InfrastructureError


def main(versions: list[str] | None = None) -> int:
    """Fetch for each version; return 1, with one line on standard error, when wheels cannot be had."""
    try:
        for version in versions or [DEFAULT_PYTHON]:
            for wheels in default_wheels(version):
                with tempfile.TemporaryDirectory() as folder:
                    wheels.install(Path(folder))
            _say(install_python(version))
    except InfrastructureError as error:
        _say(f"prefetch: {error}")
        return 1
    return 0


def _say(text: str) -> None:
    if text:
        sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
