from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from local.fake_stripe.client import FakeStripe
from stripe_cache.handlers.container import container

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.dynamodb import DynamoDB
    from local.valkey import Valkey

SECRET = "whsec_handlers"
SECRET_SETTING = "STRIPE_CACHE_WEBHOOK_SECRET"


@pytest.fixture(scope="session")
def servers(valkey: Valkey, dynamodb: DynamoDB) -> Iterator[tuple[Valkey, DynamoDB, FakeStripe]]:
    with FakeStripe(seed=5) as stripe:
        yield valkey, dynamodb, stripe


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """SQS and Secrets Manager; for these two nothing nearer to the real thing runs here than moto's server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def fake(servers: tuple[Valkey, DynamoDB, FakeStripe]) -> FakeStripe:
    servers[2].reset(state=True)
    servers[2].configure(limits={})
    return servers[2]


@pytest.fixture
def environment(
    servers: tuple[Valkey, DynamoDB, FakeStripe], aws: str, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """Set a deployed function's environment, with a fresh table, in a sandbox that has not served yet."""
    valkey, dynamodb, _ = servers
    values = {
        **dynamodb.environment(),
        "AWS_ENDPOINT_URL_SQS": aws,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws,
        "STRIPE_CACHE_NAMESPACE": f"acct_{time.time_ns()}",
        "STRIPE_CACHE_REDIS_URL": valkey.url,
        "STRIPE_CACHE_TABLE": dynamodb.create_table(),
        "STRIPE_CACHE_API_BASE": fake.url,
        "STRIPE_CACHE_EVENTS": "on",
        "STRIPE_CACHE_API_KEY_SECRET": "sk_test_handlers",
        SECRET_SETTING: SECRET,
        "STRIPE_CACHE_STAGE": "test",
        "STRIPE_CACHE_REDIS_TIMEOUT": "2",
        "STRIPE_CACHE_DYNAMODB_TIMEOUT": "5",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    forget()
    yield monkeypatch
    forget()


def forget() -> None:
    """Begin a new sandbox: nothing is kept from the one before."""
    container.cache_clear()


@pytest.fixture
def delivery() -> Callable[..., dict[str, Any]]:
    """Build a delivery as API Gateway hands it on: signed like Stripe signs, with one signature per secret."""

    def build(event: Any, *secrets: str, age: float = 0, body: str | None = None) -> dict[str, Any]:
        text = json.dumps(event) if body is None else body
        stamp = int(time.time() - age)
        signed = [
            hmac.new(secret.encode(), f"{stamp}.{text}".encode(), hashlib.sha256).hexdigest()
            for secret in secrets or (SECRET,)
        ]
        signature = ",".join([f"t={stamp}", *(f"v1={one}" for one in signed)])
        return {"version": "2.0", "headers": {"stripe-signature": signature}, "body": text, "isBase64Encoded": False}

    return build


def aws_client(name: str) -> Any:
    return boto3.client(name, region_name="us-east-1")


def metrics_of(printed: str) -> dict[str, float]:
    """Add up the metrics that were written under service and stage alone."""
    totals: dict[str, float] = {}
    for line in printed.splitlines():
        if not line.startswith('{"_aws"'):
            continue
        written = json.loads(line)
        (described,) = written["_aws"]["CloudWatchMetrics"]
        if sorted(described["Dimensions"][0]) == ["service", "stage"]:
            for metric in described["Metrics"]:
                totals[metric["Name"]] = totals.get(metric["Name"], 0) + sum(written[metric["Name"]])
    return totals
