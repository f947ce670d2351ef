"""Several operating-system processes in a storm: every answer is held against Stripe's own history."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from consistency.storm import Storm
from consistency.storm_verdict import Record, Verdict

from local.dynamodb import DynamoDB
from local.fake_stripe.client import FakeStripe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEED = int(os.environ.get("STORM_SEED", "1"))
"""Set STORM_SEED to the one a failure names to run its program again; its record can be judged again as it was."""


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[DynamoDB]:
    """One of its own: a storm that fails may leave it frozen."""
    with DynamoDB() as server:
        yield server


def _rage(
    seconds: float, seed: int, dynamodb: DynamoDB, say: Callable[[object], None], *, takeovers: bool = False
) -> tuple[Storm, Verdict]:
    with FakeStripe(seed=seed) as stripe:
        storm = Storm(dynamodb, stripe, seed, seconds, takeovers=takeovers)
        record = storm.run()
    verdict = Verdict(record)
    tally = dict(sorted((storm.tally + verdict.tally).items()))
    say(f"storm of {seconds:g} s, seed {seed}: {tally}, {len(verdict.violations)} violations")
    if verdict.violations:
        saved = record.save(Path(tempfile.gettempdir()) / f"storm-{seed}-{os.getpid()}.json")
        again = f"PYTHONPATH=.:tests:runtime python -m consistency.storm_verdict {saved}"
        pytest.fail("\n".join([f"seed {seed}; to judge the same record again: {again}", *verdict.violations[:20]]))
    return storm, verdict


def test_no_answer_in_a_storm_is_older_than_what_was_confirmed(
    dynamodb: DynamoDB, say: Callable[[object], None]
) -> None:
    storm, _ = _rage(10.0, SEED, dynamodb, say)
    assert storm.tally["reads"] > 20
    assert storm.tally["faults"] > 5
    assert storm.tally["writes"] + storm.tally["events"] > 5


@pytest.mark.parametrize("bug", ["a fill looks at no generation"])
def test_a_bug_planted_in_the_processes_is_found_out_and_its_record_says_so_again(
    bug: str, dynamodb: DynamoDB, tmp_path: Path
) -> None:
    found: list[str] = []
    # One storm in two or three misses it, for the machine decides the timing: ten of them are no luck.
    for number in range(SEED, SEED + 10):
        with FakeStripe(seed=number) as stripe:
            record = Storm(dynamodb, stripe, number, 10.0, planted=bug).run()
        if found := Verdict(record).violations:
            break
    assert found
    assert Verdict(Record.load(record.save(tmp_path / "storm.json"))).violations == found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [SEED + 1, SEED + 2, SEED + 3])
def test_no_answer_in_a_long_storm_is_older_than_what_was_confirmed(
    seed: int, dynamodb: DynamoDB, say: Callable[[object], None]
) -> None:
    storm, _ = _rage(60.0, seed, dynamodb, say)
    assert storm.tally["reads"] > 500


@pytest.mark.slow
def test_a_replica_of_redis_that_takes_over_loses_what_is_not_promised_and_nothing_else(
    dynamodb: DynamoDB, say: Callable[[object], None]
) -> None:
    storm, _ = _rage(30.0, SEED, dynamodb, say, takeovers=True)
    assert storm.tally["taken over"] > 3
