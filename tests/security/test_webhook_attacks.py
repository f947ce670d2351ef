"""Deliveries that Stripe did not send, or that somebody sends again or made monstrous."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import redis
from botocore.httpsession import URLLib3Session

from stripe_cache.core.clock import SystemClock
from stripe_cache.handlers import webhook
from stripe_cache.handlers.container import container
from stripe_cache.handlers.secrets import RENEWED_AT_MOST_EVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stripe_cache import Settings

SECRET = "whsec_attacked"
SK = "sk_test_attacked"


class ManualClock(SystemClock):
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:  # type: ignore[override]  # the base's is a plain function
        return 1000.0 + self.ahead


@pytest.fixture
def customer(settings: Callable[..., Settings], fake: Any, aws: pytest.MonkeyPatch) -> Iterator[str]:
    """Prepare a sandbox in which one customer is cached."""
    given = settings()
    for name in ("namespace", "redis_url", "table", "api_base", "redis_timeout", "dynamodb_timeout"):
        aws.setenv(f"STRIPE_CACHE_{name.upper()}", str(getattr(given, name)))
    aws.setenv("STRIPE_CACHE_WEBHOOK_SECRET", SECRET)
    container.cache_clear()
    name = str(fake.seed(customers=1)["customers"][0])
    container().cache.get(f"/v1/customers/{name}", api_key=SK)
    assert is_cached(name)
    yield name
    container.cache_clear()


def is_cached(customer: str) -> bool:
    return container().cache.get(f"/v1/customers/{customer}", api_key=SK).status.hit


def event_about(customer: str, **more: Any) -> dict[str, Any]:
    body = {"object": "customer", "id": customer, **more}
    return {"id": "evt_1", "object": "event", "type": "customer.updated", "data": {"object": body}}


def delivery(
    body: str, *, secret: str = SECRET, at: float | None = None, encoded: bytes | None = None, **headers: str
) -> dict[str, Any]:
    stamp = int(time.time() if at is None else at)
    signature = hmac.new(secret.encode(), f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()
    return {
        "headers": {"stripe-signature": f"t={stamp},v1={signature}", **headers},
        "body": body if encoded is None else base64.b64encode(encoded).decode(),
        "isBase64Encoded": encoded is not None,
    }


def answer_to(request: dict[str, Any]) -> int:
    return int(webhook.handler(request, None)["statusCode"])


def test_nothing_that_stripe_did_not_sign_changes_anything(customer: str) -> None:
    body = json.dumps(event_about(customer))
    good = delivery(body)
    zipped = gzip.compress(b"0" * 50_000_000)
    attacks = {
        "forged": delivery(body, secret="whsec_guess"),
        "unsigned": {"headers": {}, "body": body},
        "replayed an hour later": delivery(body, at=time.time() - 3600),
        "altered": {**good, "body": body.replace("evt_1", "evt_2")},
        "another scheme": {
            **good,
            "headers": {"stripe-signature": good["headers"]["stripe-signature"].replace("v1", "v0")},
        },
        "no stamp": {**good, "headers": {"stripe-signature": "v1=" + "0" * 64}},
        "a stamp that is none": {**good, "headers": {"stripe-signature": f"t={'9' * 5000},v1=0"}},
        "ten thousand signatures": {**good, "headers": {"stripe-signature": "t=1," + ",".join(["v1=0"] * 10_000)}},
        "too large": delivery(json.dumps(event_about(customer, x="x" * webhook.MAX_BODY_BYTES))),
        "a bomb": delivery("", encoded=zipped, **{"content-encoding": "gzip"}),
        "no text": delivery("", encoded=b"\xff\xfe" * 100),
        "no base64": {**good, "isBase64Encoded": True},
        "a lone surrogate": {**good, "body": "\ud800"},
        "no body": {**good, "body": None},
    }
    for name, attack in attacks.items():
        began = time.process_time()
        assert answer_to(attack) == 400, name
        assert time.process_time() - began < 10, name
    assert is_cached(customer)
    assert answer_to(good) == 200
    assert not is_cached(customer)


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"id": ' + "9" * 10_000 + "}",
        '{"id": "evt_1", "type": "x", "object": "event", "data": []}',
        "null",
        json.dumps(
            {
                "id": "evt_1",
                "object": "event",
                "type": "customer.subscription.updated",
                "data": {"object": {"items": {"data": [{"id": f"si_{n}"} for n in range(50_000)]}}},
            }
        ),
    ],
    ids=["deep", "huge-integer", "no-object", "null", "fifty-thousand-ids"],
)
def test_a_signed_delivery_that_is_no_event_costs_little_and_changes_nothing(customer: str, body: str) -> None:
    began = time.process_time()
    assert answer_to(delivery(body)) == 400
    assert time.process_time() - began < 10
    assert is_cached(customer)


def test_a_delivery_repeated_in_time_only_voids_again(customer: str) -> None:
    request = delivery(json.dumps(event_about(customer, name="not from here")))
    for _ in range(3):
        assert answer_to(request) == 200
    answer = container().cache.get(f"/v1/customers/{customer}", api_key=SK)
    assert answer.data["name"] != "not from here", "an event never supplies a body"


class Requests:
    """Counts what this process sends: to AWS by operation, to Redis by what the server has executed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
        self.aws: Counter[str] = Counter()
        self._redis = redis.Redis.from_url(redis_url)
        send = URLLib3Session.send

        def counted(session: URLLib3Session, request: Any) -> Any:
            target = request.headers["X-Amz-Target"]
            self.aws[target.decode() if isinstance(target, bytes) else target] += 1
            return send(session, request)

        monkeypatch.setattr(URLLib3Session, "send", counted)

    def redis(self) -> int:
        """Return the commands executed so far, other than the asking."""
        statistics = self._redis.info("commandstats")
        return sum(
            one["calls"] for name, one in statistics.items() if name not in {"cmdstat_info", "cmdstat_client|setinfo"}
        )

    def of(self, service: str) -> int:
        return sum(count for target, count in self.aws.items() if target.startswith(service))

    def close(self) -> None:
        self._redis.close()


VERSIONS = 2
"""What one renewal asks for: the current version and the one before."""


def test_a_flood_of_forged_deliveries_asks_no_tier_and_seldom_for_the_secret(
    customer: str, aws: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = boto3.client("secretsmanager", region_name="us-east-1")
    arn = manager.create_secret(Name=f"webhook-{customer}", SecretString=SECRET)["ARN"]
    manager.close()
    aws.setenv("STRIPE_CACHE_WEBHOOK_SECRET", arn)
    container.cache_clear()
    parts, clock = container(), ManualClock()
    monkeypatch.setattr(parts.secrets, "_clock", clock)
    assert is_cached(customer)
    requests = Requests(monkeypatch, parts.settings.redis_url)
    body = json.dumps(event_about(customer))
    try:
        before = requests.redis()
        for minute_half in range(1, 4):
            for number in range(100):
                assert answer_to(delivery(body, secret=f"whsec_guess{number}")) == 400
            assert requests.of("secretsmanager.") <= minute_half * VERSIONS, requests.aws
            clock.ahead += RENEWED_AT_MOST_EVERY + 1
        assert requests.of("secretsmanager.") == 3 * VERSIONS
        assert requests.of("DynamoDB") == 0
        assert requests.redis() == before
        # The same, signed: what is counted here would have been seen.
        assert answer_to(delivery(body)) == 200
        assert requests.redis() > before
        assert requests.of("DynamoDB") > 0
    finally:
        requests.close()
