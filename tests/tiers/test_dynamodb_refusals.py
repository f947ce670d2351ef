"""Each way in which DynamoDB refuses, in its own words to the real botocore: what it is, and never retried."""

from __future__ import annotations

import json
import logging
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from fakes import FakeClock, RecordingMeter, key_of, stored_of

from stripe_cache.core import metrics
from stripe_cache.core.errors import ConfigurationError, TableError, TierError
from stripe_cache.core.ports import NO_HOLD, NullMeter, Reading, Slot
from stripe_cache.tiers import dynamodb_connection
from stripe_cache.tiers.dynamodb import DynamoDBTier
from stripe_cache.tiers.dynamodb_connection import connect
from stripe_cache.tiers.guarded import GuardedTier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

N = "acct_1.test"
SLOTS = [Slot("cus_1", key_of(N))]
PREFIX = "com.amazonaws.dynamodb.v20120810#"
SERVICE = "com.amazon.coral.service#"


class FakeDynamoDB:
    """An HTTP server that answers every request with `status` and `body`, and counts requests and connections."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.requests: list[str] = []
        self.connections = 0
        self.hang = Event()
        self.hang.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append(self.headers["X-Amz-Target"].partition(".")[2])
                outer.hang.wait(10)
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def refuse(self, kind: str, message: str = "no", status: int = 400) -> None:
        self.status, self.body = status, json.dumps({"__type": kind, "message": message}).encode()

    def admit(self) -> None:
        self.status, self.body = 200, json.dumps({"Item": {"pk": {"S": f"{N}|cus_1"}, "g": {"S": "t1"}}}).encode()

    def close(self) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDynamoDB]:
    server = FakeDynamoDB()
    settings = {
        "AWS_ENDPOINT_URL_DYNAMODB": server.url,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    yield server
    server.close()


@pytest.fixture
def bounded() -> list[float]:
    """Hold what is left of the invocation; empty while there is none."""
    return []


@pytest.fixture
def tier(fake: FakeDynamoDB, bounded: list[float]) -> DynamoDBTier:
    del fake

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
    *, fake: FakeDynamoDB, guard: GuardedTier, meter: RecordingMeter, clock: FakeClock, kind: str, status: int
) -> None:
    fake.refuse(kind, status=status)
    steps: list[Callable[[], object]] = [
        lambda: guard.void(N, ["cus_1"], "t", NO_HOLD),
        lambda: guard.count(N, started=1),
    ]
    assert guard.read(N, SLOTS) == [Reading(None, None)]
    assert len(fake.requests) == 1
    for step in steps:
        with pytest.raises(TierError, match=kind.partition("#")[2]):
            step()
    assert len(fake.requests) == 3, "no retries: waiting is not a cache's business"
    assert meter.counts[metrics.TIER_ERROR, "dynamodb"] == 3
    assert guard.is_open
    assert guard.read(N, SLOTS) == [Reading(None, None)]
    assert len(fake.requests) == 3
    fake.admit()
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
    fake: FakeDynamoDB,
    tier: DynamoDBTier,
    guard: GuardedTier,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    error: type[Exception],
    said: str,
) -> None:
    fake.refuse(kind, "User: arn:aws:iam::123456789012:user/somebody is not authorized")
    with pytest.raises(error, match=said):
        tier.read(N, SLOTS)
    with caplog.at_level(logging.ERROR, "stripe_cache"):
        for outage in (1, 2):
            fake.refuse(kind, "User: arn:aws:iam::123456789012:user/somebody is not authorized")
            for _ in range(3):
                guard.read(N, SLOTS)
                clock.advance(60)
            fake.admit()
            assert guard.read(N, SLOTS) == [Reading("t1", None)]
            assert len(caplog.records) == outage
    assert said in caplog.text
    assert "somebody" not in caplog.text


def test_no_credentials_at_all_are_said_with_the_remedy(
    fake: FakeDynamoDB, tier: DynamoDBTier, monkeypatch: pytest.MonkeyPatch
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
    assert fake.requests == []


def test_keys_left_unprocessed_are_no_absent_records(fake: FakeDynamoDB, guard: GuardedTier) -> None:
    keys = [{"pk": {"S": f"{N}|cus_1"}}]
    answer = {"Responses": {"the-table": []}, "UnprocessedKeys": {"the-table": {"Keys": keys}}}
    fake.status, fake.body = 200, json.dumps(answer).encode()
    with pytest.raises(TierError, match="unprocessed"):
        guard.touch(N, ["cus_1", "cus_2"], "t", 60)
    assert fake.requests == ["BatchGetItem"]


def test_connections_that_were_silent_for_long_are_replaced_unasked(
    fake: FakeDynamoDB, tier: DynamoDBTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.admit()
    now = dynamodb_connection._now
    for _ in range(3):
        tier.read(N, SLOTS)
    assert fake.connections == 1
    for monotonic, wall, connections in ((250.0, 250.0, 1), (251.0, 700.0, 2), (5000.0, 701.0, 3)):
        monkeypatch.setattr(dynamodb_connection, "_now", lambda a=monotonic, b=wall: (now()[0] + a, now()[1] + b))
        for _ in range(2):
            assert tier.read(N, SLOTS) == [Reading("t1", None)]
        assert fake.connections == connections


def test_waiting_shrinks_as_the_invocation_ends(fake: FakeDynamoDB, tier: DynamoDBTier, bounded: list[float]) -> None:
    fake.admit()
    tier.read(N, SLOTS)
    bounded.append(0.2)
    fake.hang.clear()
    began = time.monotonic()
    with pytest.raises(TierError, match="ReadTimeoutError"):
        tier.read(N, SLOTS)
    assert time.monotonic() - began < 2.0, "the setting is 5 s"
    fake.hang.set()
    bounded.clear()
    assert tier.read(N, SLOTS) == [Reading("t1", None)]


def test_a_value_is_stored_when_dynamodb_is_well_again(fake: FakeDynamoDB, guard: GuardedTier) -> None:
    fake.refuse(f"{PREFIX}ThrottlingException")
    with pytest.raises(TierError):
        guard.store(key_of(N), "t1", stored_of(), 60)
    fake.status, fake.body = 200, b"{}"
    assert guard.store(key_of(N), "t1", stored_of(), 60).value == "stored"
