"""Several processes over a real Valkey and DynamoDB Local: no promise breaks, and planted bugs show."""

from __future__ import annotations

import logging
import os
import secrets
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import redis
from consistency.state_machine import Servers
from consistency.state_scenes import Scenes
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from stripe_cache.core import protocol
from stripe_cache.core.debts import Debts
from stripe_cache.core.near import Near

if TYPE_CHECKING:
    from collections import Counter as Tally
    from collections.abc import Callable

    from local.dynamodb import DynamoDB
    from local.valkey import Valkey
    from stripe_cache.core.ports import Counter, State


SEED = int(os.environ.get("STATE_MACHINE_SEED", "1"))
"""Of the quick run, which plays the same programs every time; the long one plays others. A failure says its seed, and
setting STATE_MACHINE_SEED to it plays those programs again: nothing here depends on timing."""
_QUICK = settings(
    max_examples=40,
    stateful_step_count=50,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
_LONG = settings(_QUICK, max_examples=600)
_WITHOUT_SHRINKING = settings(_QUICK, phases=[Phase.generate], report_multiple_bugs=False)


def _run(valkey: Valkey, dynamodb: DynamoDB, chosen: settings, number: int = SEED) -> Tally[str]:
    client, table = dynamodb.client(), dynamodb.create_table()
    with redis.Redis.from_url(valkey.url) as connection:
        servers = Servers(connection, client, table)
        machine = seed(number)(type("Machine", (Scenes,), {"servers": servers}))
        # The engine says in its log what hypothesis does to it, thousands of times.
        logging.disable()
        try:
            run_state_machine_as_test(machine, settings=chosen)
        except AssertionError as error:
            error.add_note(f"to run it again: STATE_MACHINE_SEED={number}")
            raise
        finally:
            logging.disable(logging.NOTSET)
            client.close()
    return servers.tally


def test_several_processes_over_real_servers_keep_the_promises(
    valkey: Valkey, dynamodb: DynamoDB, say: Callable[[object], None]
) -> None:
    tally = _run(valkey, dynamodb, _QUICK)
    say(f"state machine, seed {SEED}: {dict(tally)}, 0 violations")
    # Hypothesis leaves whole rules out of a program: how often each is taken depends on the seed.
    assert tally["hits"] > 100
    assert tally["invalidations"] > 30
    assert tally["writes"] + tally["lost writes"] > 3


def _too_young(state: State, _leased: Counter, _after: Counter, now: float) -> bool:
    return not protocol.is_held(state, now)


_BUGS: dict[str, Any] = {
    "nothing is invalidated": mock.patch.object(protocol, "invalidate", return_value=None),
    "embedded records are not looked at": mock.patch.object(protocol, "is_vouched_for", return_value=True),
    "embedded records are not compared with the counter": mock.patch.object(
        protocol, "_is_older_than_lease", _too_young
    ),
    "holds are ignored": mock.patch.object(protocol, "is_held", return_value=False),
    "nothing is held": mock.patch.object(protocol, "new_hold", return_value=""),
    "there are no debts": mock.patch.object(Debts, "add", return_value=None),
    "memory is always current": mock.patch.object(Near, "is_current", return_value=True),
    "memory trusts the monotonic clock": mock.patch.object(Near, "moment", lambda near: (near._clock.monotonic(), 0.0)),
}


@pytest.mark.parametrize("bug", _BUGS)
def test_a_bug_planted_in_the_engine_is_found(bug: str, valkey: Valkey, dynamodb: DynamoDB) -> None:
    # One seed in ten misses one bug or another.
    assert any(_is_found(bug, valkey, dynamodb, number) for number in range(1, 9))


def _is_found(bug: str, valkey: Valkey, dynamodb: DynamoDB, number: int) -> bool:
    try:
        with _BUGS[bug]:
            _run(valkey, dynamodb, _WITHOUT_SHRINKING, number)
    except AssertionError as error:
        if "may be served since" not in str(error):
            raise
        return True
    return False


@pytest.mark.slow
def test_several_processes_keep_the_promises_for_minutes(
    valkey: Valkey, dynamodb: DynamoDB, say: Callable[[object], None]
) -> None:
    number = int(os.environ.get("STATE_MACHINE_SEED", secrets.randbelow(1 << 32)))
    tally = _run(valkey, dynamodb, _LONG, number)
    say(f"state machine, seed {number}: {dict(tally)}, 0 violations")
    assert tally["hits"] > 3000
