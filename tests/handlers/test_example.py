from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from local.fake_stripe.client import FakeStripe

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_function" / "billing" / "billing.py"


@pytest.mark.usefixtures("environment")
def test_the_examples_own_function_reads_through_the_cache(fake: FakeStripe) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    handler = runpy.run_path(str(EXAMPLE))["handler"]
    first, second = (handler({"customer": customer}, None) for _ in range(2))
    assert first["name"] == second["name"] == fake.truth(f"/v1/customers/{customer}")["name"]
    assert "fwd=uri-miss" in first["cache"]
    assert "hit" in second["cache"]
