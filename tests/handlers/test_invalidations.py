"""The consumer of the queue: names of records from the webhook function, and events as EventBridge delivers them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from handlers.conftest import forget, metrics_of

from stripe_cache.handlers import invalidations
from stripe_cache.handlers.container import container

if TYPE_CHECKING:
    from local.fake_stripe.client import FakeStripe

pytestmark = pytest.mark.usefixtures("environment")
KEY = "sk_test_handlers"


def name_of(customer: str) -> Any:
    """Read as another sandbox would."""
    forget()
    return container().cache.get(f"/v1/customers/{customer}", api_key=KEY).data["name"]


def changed(fake: FakeStripe) -> tuple[str, dict[str, Any]]:
    """Cache a customer, change it, and return its id and the event in EventBridge's envelope."""
    customer = fake.seed(customers=2)["customers"][0]
    name_of(customer)
    fake.mutate(f"/v1/customers/{customer}", name="Changed")
    assert name_of(customer) != "Changed"
    event = fake.truth("/v1/events?limit=1")["data"][0]
    envelope = {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": event["type"],
        "source": "aws.partner/stripe.com/ed_1",
        "account": "123456789012",
        "region": "us-east-1",
        "detail": event,
    }
    return customer, envelope


def batch(*bodies: Any) -> dict[str, Any]:
    """Return what Lambda's poller hands over."""
    return {
        "Records": [
            {
                "messageId": str(number),
                "eventSource": "aws:sqs",
                "body": body if isinstance(body, str) else json.dumps(body),
            }
            for number, body in enumerate(bodies)
        ]
    }


def test_an_event_in_a_queued_envelope_is_applied(fake: FakeStripe, capsys: pytest.CaptureFixture[str]) -> None:
    customer, envelope = changed(fake)
    capsys.readouterr()
    assert invalidations.handler(batch(envelope), None) == {"batchItemFailures": []}
    totals = metrics_of(capsys.readouterr().out)
    assert totals["WebhookAccepted"] == 1
    assert totals["WebhookLag"] >= 0
    assert name_of(customer) == "Changed"


@pytest.mark.parametrize(
    "bad",
    [
        "no json",
        "[]",
        '"records"',
        "null",
        "{}",
        '{"detail": {}}',
        '{"detail": {"object": "event"}, "source": "aws.partner/stripe.com/ed_1"}',
        '{"records": 5}',
        '{"records": [5]}',
        '{"records": [""]}',
        '{"records": ["cus_1"], "created": "today"}',
        "[" * 5000,
    ],
)
def test_a_bad_message_fails_alone(fake: FakeStripe, bad: str) -> None:
    customer, envelope = changed(fake)
    assert invalidations.handler(batch(bad, envelope, bad), None) == {
        "batchItemFailures": [{"itemIdentifier": "0"}, {"itemIdentifier": "2"}]
    }
    assert name_of(customer) == "Changed"


def test_what_a_dead_tier_was_not_told_comes_back(fake: FakeStripe, environment: pytest.MonkeyPatch) -> None:
    customer, envelope = changed(fake)
    with environment.context() as outage:
        outage.setenv("STRIPE_CACHE_REDIS_URL", "redis://127.0.0.1:9/0")
        forget()
        assert invalidations.handler(batch(envelope), None) == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    forget()
    assert invalidations.handler(batch(envelope), None) == {"batchItemFailures": []}
    assert name_of(customer) == "Changed"
