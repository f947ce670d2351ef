"""Several processes over a real Valkey and DynamoDB Local: no promise breaks, and planted bugs show."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import redis
from consistency.state_machine import CacheMachine, Servers
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from stripe_cache.core import protocol

if TYPE_CHECKING:
    from collections import Counter as Tally
    from collections.abc import Callable

    from local.dynamodb import DynamoDB
    from local.valkey import Valkey


def _run(valkey: Valkey, dynamodb: DynamoDB, chosen: settings) -> Tally[str]:
    client, table = dynamodb.client(), dynamodb.create_table()
    with redis.Redis.from_url(valkey.url) as connection:
        servers = Servers(connection, client, table)
        # The engine says in its log what hypothesis does to it, thousands of times.
        logging.disable()
        try:
            run_state_machine_as_test(type("Machine", (CacheMachine,), {"servers": servers}), settings=chosen)
        finally:
            logging.disable(logging.NOTSET)
            client.close()
    return servers.tally


_QUICK = settings(
    max_examples=25,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
_LONG = settings(_QUICK, max_examples=600, derandomize=False, print_blob=True)
_WITHOUT_SHRINKING = settings(_QUICK, phases=[Phase.generate], report_multiple_bugs=False)


def test_several_processes_over_real_servers_keep_the_promises(
    valkey: Valkey, dynamodb: DynamoDB, say: Callable[[object], None]
) -> None:
    tally = _run(valkey, dynamodb, _QUICK)
    say(f"state machine: {dict(tally)}, 0 violations")
    assert tally["hits"] > 100
    assert tally["invalidations"] > 50
    assert tally["writes"] + tally["writers died in a write"] > 3


@pytest.mark.parametrize(
    ("name", "stand_in"), [("is_vouched_for", lambda _stored, _standing: True), ("invalidate", lambda *_: None)]
)
def test_a_bug_planted_in_the_engine_is_found(
    name: str, stand_in: Callable[..., Any], valkey: Valkey, dynamodb: DynamoDB
) -> None:
    with mock.patch.object(protocol, name, stand_in), pytest.raises(AssertionError, match="may be served since"):
        _run(valkey, dynamodb, _WITHOUT_SHRINKING)


@pytest.mark.slow
def test_several_processes_keep_the_promises_for_minutes(
    valkey: Valkey, dynamodb: DynamoDB, say: Callable[[object], None]
) -> None:
    tally = _run(valkey, dynamodb, _LONG)
    say(f"state machine: {dict(tally)}, 0 violations")
    assert tally["hits"] > 3000
