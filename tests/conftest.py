"""One Valkey, one DynamoDB Local and one fake Stripe for the whole session; each test has a namespace of its own."""

from __future__ import annotations

import functools
import uuid
from typing import TYPE_CHECKING

import botocore.session
import pytest
import redis
from fakes import FakeClock, RecordingMeter
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from tap import Tap
from world import World

from local.dynamodb import DynamoDB
from local.fake_stripe.client import FakeStripe
from local.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator

# "sensitive" fails the run if anything in it says a secret: in a log, a warning, a metric, an error or on stdout.
pytest_plugins = ["sensitive", "heap", "longest_first"]

# No deadline and no database: the same examples in every run, however busy the machine is.
hypothesis_settings.register_profile(
    "steady", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def models_of_aws() -> Iterator[None]:
    """Let all boto3 sessions of this process share what botocore reads of its files.

    Each client of the cache has a session of its own, which parses some megabytes of JSON: 0.09 s of work in a Lambda's
    life, and a minute of it in the tests'.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture(scope="session")
def dynamodb() -> Iterator[DynamoDB]:
    with DynamoDB() as server:
        yield server


@pytest.fixture(scope="session")
def table(dynamodb: DynamoDB) -> str:
    return dynamodb.create_table()


@pytest.fixture(scope="session")
def fake_stripe() -> Iterator[FakeStripe]:
    with FakeStripe() as server:
        yield server


@pytest.fixture
def aws(dynamodb: DynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead boto3 to the local server, with made-up credentials."""
    for name, value in dynamodb.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def namespace() -> str:
    return f"acct_{uuid.uuid4().hex[:12]}.test"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def meter() -> RecordingMeter:
    return RecordingMeter()


@pytest.fixture
def world(fake_stripe: FakeStripe, valkey: Valkey, dynamodb: DynamoDB, table: str, aws: None) -> Iterator[World]:
    del aws
    fake_stripe.configure(latency={}, faults=[], limits={})
    fake_stripe.reset()
    made = World(fake_stripe, valkey, dynamodb, table)
    yield made
    fake_stripe.configure(latency={}, faults=[], limits={})
    for client in made.opened:
        client.close()


@pytest.fixture
def tap(fake_stripe: FakeStripe) -> Iterator[Tap]:
    with Tap(fake_stripe.url) as server:
        yield server


@pytest.fixture
def raw_redis(valkey: Valkey) -> Iterator[redis.Redis]:
    """Connect to the server itself, past everything under test."""
    client = redis.Redis.from_url(valkey.url, protocol=2)
    yield client
    client.close()
