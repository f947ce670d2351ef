"""What every test of the constructs starts from."""

from __future__ import annotations

import aws_cdk as cdk
import pytest
from synthesis import make_app


@pytest.fixture
def stack() -> cdk.Stack:
    """Return an empty stack in an app of its own."""
    return cdk.Stack(make_app(), "Test")
