"""Several operating-system processes in a storm: every answer is held against Stripe's own history."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from consistency.storm import Storm

from local.fake_stripe.client import FakeStripe

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.dynamodb import DynamoDB
    from local.valkey import Valkey

SEED = int(os.environ.get("STORM_SEED", "1"))
"""Set STORM_SEED to the one a failure names to run its program again."""


def _rage(seconds: float, seed: int, valkey: Valkey, dynamodb: DynamoDB, say: Callable[[object], None]) -> Storm:
    with FakeStripe(seed=seed) as stripe:
        storm = Storm(valkey, dynamodb, stripe, seed, seconds)
        violations = storm.run()
    say(f"storm of {seconds:g} s, seed {seed}: {dict(sorted(storm.tally.items()))}, {len(violations)} violations")
    assert not violations, "\n".join([f"seed {seed}:", *violations[:20]])
    return storm


def test_no_answer_in_a_storm_is_older_than_what_was_confirmed(
    valkey: Valkey, dynamodb: DynamoDB, say: Callable[[object], None]
) -> None:
    storm = _rage(10.0, SEED, valkey, dynamodb, say)
    assert storm.tally["reads"] > 50
    assert storm.tally["faults"] > 5
    assert storm.tally["writes"] + storm.tally["events"] > 5


def test_a_storm_over_a_cache_that_invalidates_nothing_is_found_out(valkey: Valkey, dynamodb: DynamoDB) -> None:
    with FakeStripe(seed=SEED) as stripe:
        assert Storm(valkey, dynamodb, stripe, SEED, 5.0, planted=True).run()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [SEED + 1, SEED + 2, SEED + 3])
def test_no_answer_in_a_long_storm_is_older_than_what_was_confirmed(
    seed: int, valkey: Valkey, dynamodb: DynamoDB, say: Callable[[object], None]
) -> None:
    storm = _rage(60.0, seed, valkey, dynamodb, say)
    assert storm.tally["reads"] > 500
