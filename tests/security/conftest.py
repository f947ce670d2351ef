from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from stripe_cache import Settings
from stripe_cache.core.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.dynamodb import DynamoDB
    from local.fake_stripe.client import FakeStripe
    from local.valkey import Valkey

_numbers = itertools.count()


class ManualClock(SystemClock):
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._now, self._monotonic = time.time(), time.monotonic()

    def now(self) -> float:  # type: ignore[override]  # the base's is a plain function
        return self._now + self.ahead

    def monotonic(self) -> float:  # type: ignore[override]  # as above
        return self._monotonic + self.ahead


class CountingMeter:
    """Adds up counts by metric name."""

    def __init__(self) -> None:
        self.counts: dict[str, float] = {}

    def count(self, metric: str, value: float = 1, *, tier: str = "", object_type: str = "") -> None:
        del tier, object_type
        self.counts[metric] = self.counts.get(metric, 0) + value

    def observe(self, metric: str, milliseconds: float, *, tier: str = "", object_type: str = "") -> None:
        del metric, milliseconds, tier, object_type


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def meter() -> CountingMeter:
    return CountingMeter()


@pytest.fixture
def fake(fake_stripe: FakeStripe) -> FakeStripe:
    fake_stripe.reset(state=True)
    fake_stripe.configure(limits={})
    return fake_stripe


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """KMS, SQS and Secrets Manager; nothing nearer to the real ones runs here than moto's server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(dynamodb: DynamoDB, moto: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Point boto3 at DynamoDB Local and at moto for the rest."""
    endpoints = {f"AWS_ENDPOINT_URL_{name}": moto for name in ("KMS", "SQS", "SECRETS_MANAGER")}
    for name, value in (dynamodb.environment() | endpoints).items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def kms(aws: pytest.MonkeyPatch) -> Any:
    del aws
    return boto3.client("kms", region_name="us-east-1")


@pytest.fixture
def settings(valkey: Valkey, dynamodb: DynamoDB, fake: FakeStripe, aws: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Make settings on the real servers, with a namespace and a table of the test's own."""
    del aws
    given: dict[str, Any] = {
        "namespace": f"acct_{next(_numbers)}x{time.time_ns()}",
        "redis_url": valkey.url,
        "table": dynamodb.create_table(),
        "api_base": fake.url,
        "events": True,
        "redis_timeout": 5.0,
        "dynamodb_timeout": 10.0,
        "rate_limits": None,
    }
    return lambda **changes: Settings(**(given | changes))
