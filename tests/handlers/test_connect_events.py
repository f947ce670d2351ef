"""Events of connected accounts, by every way in: confirmed only when the account's namespace and the platform's are."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from handlers.conftest import aws_client, forget

from local.ports import free_port
from stripe_cache.core.errors import TierError
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.handlers import invalidations, reconcile, webhook
from stripe_cache.handlers.container import container

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from local.fake_stripe.client import FakeStripe

    Delivery = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.usefixtures("environment")
KEY = "sk_test_handlers"
OLD, NEW = "old@example.com", "new@example.com"


def emails(account: str) -> tuple[str, str]:
    """Read the account as the platform and as itself, as another sandbox would."""
    forget()
    cache = container().cache
    by_id = cache.get(f"/v1/accounts/{account}", api_key=KEY)
    itself = cache.get("/v1/account", api_key=KEY, stripe_account=account)
    return by_id.data["email"], itself.data["email"]


@pytest.fixture
def account(fake: FakeStripe) -> str:
    name = f"acct_{time.time_ns()}"
    fake.configure(connected=[name])
    fake.mutate(f"/v1/accounts/{name}", email=OLD)
    sweep(name)
    assert emails(name) == (OLD, OLD)
    return name


@pytest.fixture
def event(fake: FakeStripe, account: str) -> dict[str, Any]:
    """Change the account, and return what Stripe sends about it."""
    fake.mutate(f"/v1/accounts/{account}", email=NEW)
    (found,) = fake.truth("/v1/events?limit=1", account=account)["data"]
    assert emails(account) == (OLD, OLD)
    sent: dict[str, Any] = found | {"account": account}
    return sent


def sweep(*accounts: str) -> dict[str, Any]:
    forget()
    return reconcile.handler({"accounts": list(accounts)}, None)


def deliver(request: dict[str, Any]) -> tuple[int, str]:
    answer = webhook.handler(request, None)
    return answer["statusCode"], json.loads(answer["body"])["result"]


def without_redis(outage: pytest.MonkeyPatch) -> None:
    forget()
    outage.setenv("STRIPE_CACHE_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")


def test_a_webhook_voids_in_both_and_once(account: str, event: dict[str, Any], delivery: Delivery) -> None:
    forget()
    assert deliver(delivery(event)) == (200, "done")
    assert emails(account) == (NEW, NEW)
    forget()
    assert deliver(delivery(event)) == (200, "repeated")


def test_a_thin_event_voids_in_both(account: str, event: dict[str, Any], delivery: Delivery) -> None:
    thin = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v1.account.updated",
        "livemode": False,
        "created": "2026-01-01T00:00:00Z",
        "context": event["account"],
        "related_object": {"id": account, "type": "account", "url": f"/v1/accounts/{account}"},
    }
    forget()
    assert deliver(delivery(thin)) == (200, "done")
    assert emails(account) == (NEW, NEW)


def test_an_account_of_v2_is_the_platforms_and_its_event_is_told_to_the_account(
    account: str, event: dict[str, Any], delivery: Delivery
) -> None:
    del event
    thin = {
        "id": "evt_v2",
        "object": "v2.core.event",
        "type": "v2.core.account.updated",
        "livemode": False,
        "created": "2026-01-01T00:00:00Z",
        "context": None,
        "related_object": {"id": account, "type": "v2.core.account", "url": f"/v2/core/accounts/{account}"},
    }
    forget()
    assert deliver(delivery(thin)) == (200, "done")
    assert emails(account) == (NEW, NEW)


def test_the_sweep_of_a_connected_account_reaches_the_platform_too(account: str, event: dict[str, Any]) -> None:
    del event
    assert sweep()  # the operator's own list does not have it
    assert emails(account) == (OLD, OLD)
    sweep(account)
    assert emails(account) == (NEW, NEW)


@pytest.mark.parametrize("place", ["table", "queue"])
def test_what_redis_missed_is_told_in_both_though_the_account_is_swept_by_nobody(
    account: str, event: dict[str, Any], delivery: Delivery, environment: pytest.MonkeyPatch, place: str
) -> None:
    url = ""
    if place == "queue":
        url = aws_client("sqs").create_queue(QueueName=f"connect-{time.time_ns()}")["QueueUrl"]
        environment.setenv("STRIPE_CACHE_INVALIDATION_QUEUE_URL", url)
    with environment.context() as outage:
        without_redis(outage)
        assert deliver(delivery(event)) == (200, "queued")
    assert emails(account) == (OLD, OLD)
    if place == "queue":
        messages = aws_client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        spaces = {json.loads(one["Body"])["namespace"] for one in messages}
        assert spaces == {f"{account}.test", f"{container().settings.namespace}.test"}
        records = [{"messageId": one["MessageId"], "body": one["Body"]} for one in messages]
        assert invalidations.handler({"Records": records}, None) == {"batchItemFailures": []}
    else:
        assert sweep()[f"{container().settings.namespace}.test"]["replayed"] == 2
    assert emails(account) == (NEW, NEW)


@pytest.mark.parametrize("writer", ["platform", "account"])
def test_what_a_clients_write_could_not_tell_redis_is_told_in_both(
    account: str, environment: pytest.MonkeyPatch, writer: str
) -> None:
    options: Any = {"stripe_account": account} if writer == "account" else {}
    with environment.context() as outage:
        without_redis(outage)
        container().client().v1.accounts.update(account, {"email": NEW}, options=options)
    assert emails(account) == (OLD, OLD)
    assert sweep()[f"{container().settings.namespace}.test"]["replayed"] == 2
    assert emails(account) == (NEW, NEW)


@pytest.mark.parametrize("missing", ["platform", "account"])
def test_an_event_that_one_namespace_missed_comes_back_and_is_not_taken_for_a_repetition(
    account: str, event: dict[str, Any], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    forget()
    label = account if missing == "account" else container().settings.namespace
    replay = Invalidator.replay

    def failing(self: Invalidator, namespace: str, records: Sequence[str], *rest: Any) -> bool:
        if namespace == f"{label}.test":
            raise TierError("away")
        return replay(self, namespace, records, *rest)

    envelope = {"detail-type": event["type"], "source": "aws.partner/stripe.com/ed_1", "detail": event}
    batch = {"Records": [{"messageId": "1", "body": json.dumps(envelope)}]}
    with monkeypatch.context() as outage:
        outage.setattr(Invalidator, "replay", failing)
        assert invalidations.handler(batch, None) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert sorted(emails(account)) == [NEW, OLD]
    assert invalidations.handler(batch, None) == {"batchItemFailures": []}
    assert emails(account) == (NEW, NEW)
