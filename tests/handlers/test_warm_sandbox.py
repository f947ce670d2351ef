"""Lambda initialises a sandbox while nobody waits: what takes long is made then."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def test_a_sandbox_warms_while_it_initialises(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    program = (
        "import sys; import stripe_cache.handlers.container as c; "
        "print(c.container.cache_info().currsize, 'boto3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["1", "True"]


def test_a_wrong_environment_does_not_fail_the_initialisation(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    environment.setenv("STRIPE_CACHE_MEMORY_MAX_LAG", "soon")
    program = "import stripe_cache.handlers.container as c; print(c.container.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0"]
