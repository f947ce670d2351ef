from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from handlers.conftest import SECRET, SECRET_SETTING, aws_client, forget, metrics_of

from local.ports import free_port
from stripe_cache.handlers import entitlements, invalidations, webhook

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.fake_stripe.client import FakeStripe

    Delivery = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.usefixtures("environment")


def last_event(fake: FakeStripe) -> dict[str, Any]:
    event: dict[str, Any] = fake.truth("/v1/events?limit=1")["data"][0]
    return event


def changed_customer(fake: FakeStripe) -> tuple[str, dict[str, Any]]:
    """Read a customer through the sample handler, then change it; return its id and the event."""
    customer = fake.seed(customers=2)["customers"][0]
    assert ask(customer)["name"] != "Changed"
    fake.mutate(f"/v1/customers/{customer}", name="Changed")
    assert ask(customer)["name"] != "Changed", "without the webhook the old name is served: the test can see a change"
    return customer, last_event(fake)


def ask(customer: str) -> dict[str, Any]:
    answer = entitlements.handler({"pathParameters": {"customer": customer}}, None)
    assert answer["statusCode"] == 200, answer
    body: dict[str, Any] = json.loads(answer["body"])
    return body


def test_a_signed_webhook_to_an_empty_cache_is_done(fake: FakeStripe, delivery: Delivery) -> None:
    fake.mutate("/v1/customers", name="New")
    answer = webhook.handler(delivery(last_event(fake)), None)
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"result": "done"})


def test_an_acknowledged_webhook_voids_what_it_is_about(
    fake: FakeStripe, delivery: Delivery, capsys: pytest.CaptureFixture[str]
) -> None:
    customer, event = changed_customer(fake)
    capsys.readouterr()
    assert webhook.handler(delivery(event), None)["statusCode"] == 200
    totals = metrics_of(capsys.readouterr().out)
    assert totals["WebhookAccepted"] == 1
    assert totals["Invalidation"] >= 3
    assert totals["WebhookLag"] >= 0
    assert ask(customer)["name"] == "Changed"


def test_an_acknowledged_webhook_voids_it_for_other_sandboxes_too(fake: FakeStripe, delivery: Delivery) -> None:
    customer, event = changed_customer(fake)
    forget()
    assert webhook.handler(delivery(event), None)["statusCode"] == 200
    forget()
    assert ask(customer)["name"] == "Changed"


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("header", ["Stripe-Signature", "stripe-signature"])
def test_bodies_and_headers_come_in_either_form(
    fake: FakeStripe, delivery: Delivery, header: str, *, encoded: bool
) -> None:
    customer, event = changed_customer(fake)
    sent = delivery(event)
    sent["headers"] = {header: sent["headers"]["stripe-signature"]}
    if encoded:
        sent |= {"body": base64.b64encode(sent["body"].encode()).decode(), "isBase64Encoded": True}
    assert webhook.handler(sent, None)["statusCode"] == 200
    assert ask(customer)["name"] == "Changed"


@pytest.mark.parametrize(
    "forge",
    [
        lambda sent, _: sent | {"headers": {}},
        lambda sent, _: sent | {"headers": {"stripe-signature": "t=1,v1=00"}},
        lambda sent, _: sent | {"headers": {"stripe-signature": "\x00" * 500}},
        lambda sent, _: sent | {"headers": {"stripe-signature": "t=1,v1=\u00e9"}},
        lambda sent, _: sent | {"body": sent["body"].replace("Changed", "Chanced")},
        lambda sent, _: sent | {"body": None},
        lambda sent, _: sent | {"isBase64Encoded": True, "body": "*"},
        lambda sent, _: sent | {"body": " " * 2_000_000},
        lambda sent, build: build(json.loads(sent["body"]), "whsec_other"),
        lambda sent, build: build(json.loads(sent["body"]), age=301),
        lambda sent, build: build(None, body=sent["body"][:-5]),
        lambda _, build: build([1, 2, 3]),
        lambda _, build: build({"object": "customer", "id": "cus_1"}),
        lambda _, build: build(None, body="[" * 100_000),
    ],
)
def test_what_is_not_stripes_changes_nothing(
    fake: FakeStripe, delivery: Delivery, capsys: pytest.CaptureFixture[str], forge: Any
) -> None:
    customer, event = changed_customer(fake)
    capsys.readouterr()
    answer = webhook.handler(forge(delivery(event), delivery), None)
    assert answer["statusCode"] == 400
    assert metrics_of(capsys.readouterr().out) == {"WebhookRejected": 1}
    assert ask(customer)["name"] != "Changed"


def test_during_a_roll_either_secret_verifies(
    fake: FakeStripe, delivery: Delivery, environment: pytest.MonkeyPatch
) -> None:
    fake.mutate("/v1/customers", name="New")
    event = last_event(fake)
    environment.setenv(SECRET_SETTING, json.dumps([SECRET, "whsec_next"]))
    forget()
    for signatures in [(SECRET,), ("whsec_next",), ("whsec_unknown", "whsec_next")]:
        assert webhook.handler(delivery(event, *signatures), None)["statusCode"] == 200
    assert webhook.handler(delivery(event, "whsec_unknown"), None)["statusCode"] == 400


def test_a_secret_from_secrets_manager_is_used_and_its_successor_found(
    fake: FakeStripe, delivery: Delivery, environment: pytest.MonkeyPatch
) -> None:
    manager = aws_client("secretsmanager")
    arn = manager.create_secret(Name="webhook-roll", SecretString="whsec_first")["ARN"]
    environment.setenv(SECRET_SETTING, arn)
    forget()
    fake.mutate("/v1/customers", name="New")
    event = last_event(fake)
    assert webhook.handler(delivery(event, "whsec_first"), None)["statusCode"] == 200
    manager.put_secret_value(SecretId=arn, SecretString="whsec_second")
    forget()
    assert webhook.handler(delivery(event, "whsec_second"), None)["statusCode"] == 200
    assert webhook.handler(delivery(event, "whsec_first"), None)["statusCode"] == 200, "the previous version counts too"


@pytest.mark.parametrize("dead", ["redis, and no table", "dynamodb"])
def test_where_nothing_durable_is_left_stripe_is_asked_to_deliver_again(
    fake: FakeStripe, delivery: Delivery, environment: pytest.MonkeyPatch, dead: str
) -> None:
    fake.mutate("/v1/customers", name="New")
    if dead == "dynamodb":
        environment.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{free_port()}")
    else:
        environment.delenv("STRIPE_CACHE_TABLE")
        environment.setenv("STRIPE_CACHE_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    forget()
    assert webhook.handler(delivery(last_event(fake)), None)["statusCode"] == 500


def test_with_a_queue_a_dead_tier_is_told_later(
    fake: FakeStripe, delivery: Delivery, environment: pytest.MonkeyPatch
) -> None:
    customer, event = changed_customer(fake)
    sqs = aws_client("sqs")
    url = sqs.create_queue(QueueName="invalidations")["QueueUrl"]
    environment.setenv("STRIPE_CACHE_INVALIDATION_QUEUE_URL", url)
    with environment.context() as during_outage:
        during_outage.setenv("STRIPE_CACHE_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
        forget()
        answer = webhook.handler(delivery(event), None)
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"result": "queued"})
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert "Changed" not in message["Body"], "the queue holds names of records only"
    assert json.loads(message["Body"])["created"] == event["created"], "how late it is applied can still be told"
    forget()
    batch = {"Records": [{"messageId": "1", "body": message["Body"]}, {"messageId": "2", "body": "{}"}]}
    assert invalidations.handler(batch, None) == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    forget()
    assert ask(customer)["name"] == "Changed"


def test_an_event_by_eventbridge_is_applied(fake: FakeStripe) -> None:
    customer, event = changed_customer(fake)
    envelope = {"version": "0", "detail-type": event["type"], "source": "aws.partner/stripe.com/ed_1", "detail": event}
    assert invalidations.handler(envelope, None) == {}
    forget()
    assert ask(customer)["name"] == "Changed"


def test_an_event_of_the_mode_not_served_is_acknowledged_and_ignored(
    fake: FakeStripe, delivery: Delivery, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("STRIPE_CACHE_LIVEMODE", "off")
    forget()
    customer, event = changed_customer(fake)
    assert webhook.handler(delivery(event | {"livemode": True}), None)["statusCode"] == 200
    forget()
    assert ask(customer)["name"] != "Changed"


@pytest.mark.parametrize("account", ["acct 2", "", {"id": "acct_2"}, ["acct_2"]])
def test_a_signed_event_of_an_account_that_can_be_none_is_rejected_and_voids_nothing(
    fake: FakeStripe, delivery: Delivery, account: object
) -> None:
    customer, event = changed_customer(fake)
    assert webhook.handler(delivery(event | {"account": account}), None)["statusCode"] == 400
    assert ask(customer)["name"] != "Changed"
    assert webhook.handler(delivery(event), None)["statusCode"] == 200
    assert ask(customer)["name"] == "Changed"
