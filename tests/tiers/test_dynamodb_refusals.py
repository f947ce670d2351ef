"""Each way in which DynamoDB refuses, in its own words to the real botocore: what it is, and never retried."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

import pytest
from fake_dynamodb import PREFIX, SERVICE
from fakes import FakeClock, RecordingMeter, key_of, stored_of

from stripe_cache.core import metrics
from stripe_cache.core.errors import ConfigurationError, TableError, TierError
from stripe_cache.core.ports import NO_HOLD, NullMeter, Reading, Slot
from stripe_cache.tiers import dynamodb_connection
from stripe_cache.tiers.dynamodb import DynamoDBTier
from stripe_cache.tiers.dynamodb_connection import connect
from stripe_cache.tiers.guarded import GuardedTier

if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_dynamodb import FakeDynamoDB

N = "acct_1.test"
SLOTS = [Slot("cus_1", key_of(N))]
ITEM = {"pk": {"S": f"{N}|cus_1"}, "g": {"S": "t1"}}


@pytest.fixture
def bounded() -> list[float]:
    """Hold what is left of the invocation; empty while there is none."""
    return []


@pytest.fixture
def tier(fake_dynamodb: FakeDynamoDB, bounded: list[float]) -> DynamoDBTier:
    del fake_dynamodb

    def left(seconds: float) -> float:
        return min([seconds, *bounded])

    client = connect(5.0, left)
    return DynamoDBTier(lambda: client, "the-table", FakeClock(), NullMeter())


@pytest.fixture
def guard(tier: DynamoDBTier, clock: FakeClock, meter: RecordingMeter) -> GuardedTier:
    return GuardedTier(tier, 60.0, clock, meter)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (f"{PREFIX}ProvisionedThroughputExceededException", 400),
        (f"{PREFIX}ThrottlingException", 400),
        (f"{PREFIX}RequestLimitExceeded", 400),
        (f"{PREFIX}InternalServerError", 500),
        (f"{SERVICE}ServiceUnavailable", 503),
        (f"{SERVICE}ExpiredTokenException", 400),
    ],
)
def test_what_passes_by_itself_is_a_counted_miss_asked_for_once(
    *, fake_dynamodb: FakeDynamoDB, guard: GuardedTier, meter: RecordingMeter, clock: FakeClock, kind: str, status: int
) -> None:
    fake_dynamodb.refuse(kind, status=status)
    steps: list[Callable[[], object]] = [
        lambda: guard.void(N, ["cus_1"], "t", NO_HOLD),
        lambda: guard.count(N, started=1),
    ]
    assert guard.read(N, SLOTS) == [Reading(None, None)]
    assert len(fake_dynamodb.requests) == 1
    for step in steps:
        with pytest.raises(TierError, match=kind.partition("#")[2]):
            step()
    assert len(fake_dynamodb.requests) == 3, "no retries: waiting is not a cache's business"
    assert meter.counts[metrics.TIER_ERROR, "dynamodb"] == 3
    assert guard.is_open
    assert guard.read(N, SLOTS) == [Reading(None, None)]
    assert len(fake_dynamodb.requests) == 3
    fake_dynamodb.admit(ITEM)
    clock.advance(60)
    assert guard.read(N, SLOTS) == [Reading("t1", None)]
    assert not guard.is_open


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        (f"{PREFIX}ResourceNotFoundException", TableError, "deploy the store stack, or correct STRIPE_CACHE_TABLE"),
        (f"{SERVICE}AccessDeniedException", ConfigurationError, "grant its role GetItem"),
        (f"{SERVICE}UnrecognizedClientException", ConfigurationError, "grant its role"),
        (f"{SERVICE}InvalidSignatureException", ConfigurationError, "its clock is right"),
    ],
)
def test_what_does_not_pass_is_said_once_an_outage_with_the_remedy(
    *,
    fake_dynamodb: FakeDynamoDB,
    tier: DynamoDBTier,
    guard: GuardedTier,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    error: type[Exception],
    said: str,
) -> None:
    fake_dynamodb.refuse(kind, "User: arn:aws:iam::123456789012:user/somebody is not authorized")
    with pytest.raises(error, match=said):
        tier.read(N, SLOTS)
    with caplog.at_level(logging.ERROR, "stripe_cache"):
        for outage in (1, 2):
            fake_dynamodb.refuse(kind, "User: arn:aws:iam::123456789012:user/somebody is not authorized")
            for _ in range(3):
                guard.read(N, SLOTS)
                clock.advance(60)
            fake_dynamodb.admit(ITEM)
            assert guard.read(N, SLOTS) == [Reading("t1", None)]
            assert len(caplog.records) == outage
    assert said in caplog.text
    assert "somebody" not in caplog.text


def test_no_credentials_at_all_are_said_with_the_remedy(
    fake_dynamodb: FakeDynamoDB, tier: DynamoDBTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    del tier
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    poor = DynamoDBTier(lambda: connect(5.0), "the-table", FakeClock(), NullMeter())
    with pytest.raises(ConfigurationError, match="no AWS credentials: give the process a role"):
        poor.read(N, SLOTS)
    assert fake_dynamodb.requests == []


def test_keys_left_unprocessed_are_no_absent_records(fake_dynamodb: FakeDynamoDB, guard: GuardedTier) -> None:
    keys = [{"pk": {"S": f"{N}|cus_1"}}]
    answer = {"Responses": {"the-table": []}, "UnprocessedKeys": {"the-table": {"Keys": keys}}}
    fake_dynamodb.status, fake_dynamodb.body = 200, json.dumps(answer).encode()
    with pytest.raises(TierError, match="unprocessed"):
        guard.touch(N, ["cus_1", "cus_2"], "t", 60)
    assert fake_dynamodb.requests == ["BatchGetItem"]


def test_connections_that_were_silent_for_long_are_replaced_unasked(
    fake_dynamodb: FakeDynamoDB, tier: DynamoDBTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_dynamodb.admit(ITEM)
    now = dynamodb_connection._now
    for _ in range(3):
        tier.read(N, SLOTS)
    assert fake_dynamodb.connections == 1
    for monotonic, wall, connections in ((250.0, 250.0, 1), (251.0, 700.0, 2), (5000.0, 701.0, 3)):
        monkeypatch.setattr(dynamodb_connection, "_now", lambda a=monotonic, b=wall: (now()[0] + a, now()[1] + b))
        for _ in range(2):
            assert tier.read(N, SLOTS) == [Reading("t1", None)]
        assert fake_dynamodb.connections == connections


def test_waiting_shrinks_as_the_invocation_ends(
    fake_dynamodb: FakeDynamoDB, tier: DynamoDBTier, bounded: list[float]
) -> None:
    fake_dynamodb.admit(ITEM)
    tier.read(N, SLOTS)
    bounded.append(0.2)
    fake_dynamodb.gate.clear()
    began = time.monotonic()
    with pytest.raises(TierError, match="ReadTimeoutError"):
        tier.read(N, SLOTS)
    assert time.monotonic() - began < 2.0, "the setting is 5 s"
    fake_dynamodb.gate.set()
    bounded.clear()
    assert tier.read(N, SLOTS) == [Reading("t1", None)]


def test_a_value_is_stored_when_dynamodb_is_well_again(fake_dynamodb: FakeDynamoDB, guard: GuardedTier) -> None:
    fake_dynamodb.refuse(f"{PREFIX}ThrottlingException")
    with pytest.raises(TierError):
        guard.store(key_of(N), "t1", stored_of(), 60)
    fake_dynamodb.status, fake_dynamodb.body = 200, b"{}"
    assert guard.store(key_of(N), "t1", stored_of(), 60).value == "stored"
