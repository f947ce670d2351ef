"""What Redis missed is kept durably and told to it later, whoever missed it: a webhook, a client's write, the queue."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import redis
from handlers.conftest import aws_client, forget, metrics_of

from local.ports import free_port
from local.valkey import Valkey
from stripe_cache.core.events import MOST_RECORDS
from stripe_cache.core.outbox import OUTBOX_TTL
from stripe_cache.handlers import invalidations, reconcile, webhook
from stripe_cache.handlers.container import container
from stripe_cache.tiers import outbox_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.fake_stripe.client import FakeStripe

    Delivery = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.usefixtures("environment")
KEY = "sk_test_handlers"


def name_of(customer: str, account: str = "") -> Any:
    """Read through the cache, as another sandbox would."""
    forget()
    return container().cache.get(f"/v1/customers/{customer}", api_key=KEY, stripe_account=account).data["name"]


def sweep(event: dict[str, Any] | None = None) -> dict[str, Any]:
    forget()
    return reconcile.handler(event or {}, None)


def deliver(request: dict[str, Any]) -> tuple[int, str]:
    answer = webhook.handler(request, None)
    return answer["statusCode"], json.loads(answer["body"])["result"]


def change(fake: FakeStripe, customer: str, name: str) -> dict[str, Any]:
    fake.mutate(f"/v1/customers/{customer}", name=name)
    event: dict[str, Any] = fake.truth("/v1/events?limit=1")["data"][0]
    return event


def without_redis(environment: pytest.MonkeyPatch) -> Any:
    """Be a sandbox that cannot reach Redis while all others can."""
    forget()
    environment.setenv("STRIPE_CACHE_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")


@pytest.fixture
def customer(fake: FakeStripe) -> str:
    found: str = fake.seed(customers=2)["customers"][0]
    sweep()
    name_of(found)
    return found


@pytest.fixture
def queue_url(environment: pytest.MonkeyPatch) -> str:
    url: str = aws_client("sqs").create_queue(QueueName=f"outbox-{time.time_ns()}")["QueueUrl"]
    environment.setenv("STRIPE_CACHE_INVALIDATION_QUEUE_URL", url)
    return url


def received(url: str, receipts: int = 1) -> list[dict[str, Any]]:
    got = aws_client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    attributes = {"ApproximateReceiveCount": str(receipts)}
    return [{"messageId": one["MessageId"], "body": one["Body"], "attributes": attributes} for one in got]


def kept() -> list[dict[str, Any]]:
    """Read every item of the outbox, past the code under test."""
    items = boto3.client("dynamodb").scan(TableName=container().settings.table)["Items"]
    return [item for item in items if "|#outbox" in item["pk"]["S"]]


def test_what_a_webhook_could_not_tell_redis_is_told_by_the_next_sweep(
    fake: FakeStripe,
    customer: str,
    delivery: Delivery,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = change(fake, customer, "Changed")
    with environment.context() as outage:
        without_redis(outage)
        assert deliver(delivery(event)) == (200, "queued")
        assert container().cache.get(f"/v1/customers/{customer}", api_key=KEY).data["name"] == "Changed"
    assert name_of(customer) != "Changed", "the window: who does not know of it still reads Redis"
    (item,) = kept()
    assert time.time() + OUTBOX_TTL - 600 < float(item["exp"]["N"]) < time.time() + OUTBOX_TTL + 60
    capsys.readouterr()
    # The sweep would find the event as well: it must be the outbox that tells Redis.
    environment.setattr(reconcile.Reconciler, "run", lambda *_: reconcile_nothing())
    (swept,) = sweep().values()
    assert (swept["replayed"], swept["left"]) == (1, 0)
    assert metrics_of(capsys.readouterr().out)["OutboxReplayed"] == 1
    assert name_of(customer) == "Changed"
    assert all("q" not in item for item in kept())
    (again,) = sweep().values()
    assert again["replayed"] == 0


def reconcile_nothing() -> Any:
    from stripe_cache.core.reconcile import Sweep

    return Sweep(finished=True)


@pytest.mark.parametrize("place", ["table", "queue"])
def test_what_a_clients_write_could_not_tell_redis_is_told_later(
    fake: FakeStripe, customer: str, environment: pytest.MonkeyPatch, place: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("queue_url") if place == "queue" else ""
    with environment.context() as outage:
        without_redis(outage)
        client = container().client()
        client.v1.customers.update(customer, {"name": "Written"})
        assert client.v1.customers.retrieve(customer).name == "Written", "its own writer reads it at once"
    assert name_of(customer) != "Written"
    if place == "queue":
        assert kept() == []
        forget()
        messages = received(url)
        assert len(messages) == 1, "after the answer: the beginning puts nothing down"
        assert "Written" not in str(messages)
        assert invalidations.handler({"Records": messages}, None) == {"batchItemFailures": []}
    else:
        environment.setattr(reconcile.Reconciler, "run", lambda *_: reconcile_nothing())
        (swept,) = sweep().values()
        assert (swept["replayed"], swept["left"]) == (1, 0)
    assert fake.counters()["total"]
    assert name_of(customer) == "Written"


def test_a_redis_killed_during_webhooks_is_told_when_it_is_back(
    fake: FakeStripe, delivery: Delivery, environment: pytest.MonkeyPatch
) -> None:
    customers = fake.seed(customers=3)["customers"]
    with Valkey() as own:
        environment.setenv("STRIPE_CACHE_REDIS_URL", own.url)
        forget()
        for customer in customers:
            container().cache.get(f"/v1/customers/{customer}", api_key=KEY)
        own.kill()
        for number, customer in enumerate(customers):
            assert deliver(delivery(change(fake, customer, f"N{number}"))) == (200, "queued")
        (away,) = sweep().values()
        assert (away["replayed"], away["left"]) == (0, 3)
    with Valkey(port=own.port):
        (back,) = sweep().values()
        assert (back["replayed"], back["left"]) == (4, 0), "the sweep in between put down what it could not tell either"
        assert [name_of(customer) for customer in customers] == ["N0", "N1", "N2"]
    assert all("q" not in item for item in kept())


def test_a_message_that_the_queue_cannot_get_rid_of_moves_into_the_table(
    fake: FakeStripe, customer: str, delivery: Delivery, environment: pytest.MonkeyPatch, queue_url: str
) -> None:
    with environment.context() as outage:
        without_redis(outage)
        assert deliver(delivery(change(fake, customer, "Changed"))) == (200, "queued")
        (message,) = received(queue_url)
        identifier = message["messageId"]
        failed = {"batchItemFailures": [{"itemIdentifier": identifier}]}
        assert invalidations.handler({"Records": [message]}, None) == failed
        patient = message | {"attributes": {"ApproximateReceiveCount": str(invalidations.PATIENCE)}}
        assert invalidations.handler({"Records": [patient]}, None) == {"batchItemFailures": []}
    environment.setattr(reconcile.Reconciler, "run", lambda *_: reconcile_nothing())
    (swept,) = sweep().values()
    assert (swept["replayed"], name_of(customer)) == (1, "Changed")


def test_a_batch_voids_a_record_once_and_refuses_what_is_not_its_own(
    customer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forget()
    namespace = f"{container().settings.namespace}.test"
    good = {"namespace": namespace, "records": [customer], "tiers": ["redis"], "event": "", "created": None}
    bodies = [
        *[good] * 5,
        good | {"namespace": "acct_other.unknown"},
        good | {"tiers": ["memory"]},
        good | {"records": "*"},
        good | {"records": []},
        good | {"created": "now"},
        [],
        {"records": [customer], "account": None, "livemode": False, "created": 1.0, "event": "evt_1"},
    ]
    records = [{"messageId": str(number), "body": json.dumps(body)} for number, body in enumerate(bodies)]
    capsys.readouterr()
    failures = invalidations.handler({"Records": records}, None)["batchItemFailures"]
    assert [one["itemIdentifier"] for one in failures] == ["5", "6", "7", "8", "9", "10"]
    assert metrics_of(capsys.readouterr().out)["Invalidation"] == 2, "once in Redis, and once for an older release"


def test_too_much_for_the_outbox_voids_all_of_the_namespace_in_redis_and_nothing_else(
    servers: Any, fake: FakeStripe, customer: str, delivery: Delivery, environment: pytest.MonkeyPatch
) -> None:
    environment.setattr(outbox_dynamodb, "SHARDS", 1)
    environment.setattr(outbox_dynamodb, "MOST_PER_SHARD", 2)
    (other,) = fake.seed(customers=1, account="acct_1Other")["customers"]
    name_of(other, "acct_1Other")
    with environment.context() as outage:
        without_redis(outage)
        for number in range(4):
            assert deliver(delivery(change(fake, customer, f"N{number}"))) == (200, "queued")
    assert sorted(item["pk"]["S"].rpartition("#")[2] for item in kept()) == ["outbox*", "outbox0"]
    client = redis.Redis.from_url(servers[0].url, protocol=2)
    namespace = f"{container().settings.namespace}.test"
    foreign = client.hgetall(f"sc1:{{acct_1Other.test|{other}}}")
    environment.setattr(reconcile.Reconciler, "run", lambda *_: reconcile_nothing())
    (swept,) = sweep().values()
    assert (swept["replayed"], swept["left"]) == (3, 0), "two entries, and everything"
    values = [
        field
        for key in client.scan_iter(f"sc1:{{{namespace}|*")
        if client.type(key) == b"hash"
        for field in client.hkeys(key)
        if field.startswith(b"v")
    ]
    assert values == []
    assert client.hgetall(f"sc1:{{acct_1Other.test|{other}}}") == foreign
    client.close()
    assert name_of(customer) == "N3"
    (again,) = sweep().values()
    assert again["replayed"] == 0


def test_an_event_delivered_twice_is_applied_once_and_the_sweep_knows_it_too(
    fake: FakeStripe, customer: str, delivery: Delivery
) -> None:
    event = change(fake, customer, "Changed")
    forget()
    assert deliver(delivery(event)) == (200, "done")
    assert name_of(customer) == "Changed"
    reads = fake.counters()["reads"]
    forget()
    assert deliver(delivery(event)) == (200, "repeated")
    assert name_of(customer) == "Changed"
    assert fake.counters()["reads"] == reads, "the entry filled in between was kept"
    (swept,) = sweep().values()
    assert (swept["applied"], swept["repeated"], swept["records"]) == (0, 1, 0)
    reads = fake.counters()["reads"]
    assert name_of(customer) == "Changed"
    assert fake.counters()["reads"] == reads
    assert deliver(delivery(event | {"id": "evt_another"})) == (200, "done"), "another event is another change"


def test_an_event_is_not_marked_before_every_tier_has_confirmed(
    fake: FakeStripe, customer: str, delivery: Delivery, environment: pytest.MonkeyPatch
) -> None:
    event = change(fake, customer, "Changed")
    forget()
    with environment.context() as outage:
        outage.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{free_port()}")
        assert deliver(delivery(event))[0] == 500
    forget()
    assert deliver(delivery(event)) == (200, "done")
    assert name_of(customer) == "Changed"


def test_an_event_that_names_thousands_is_done_in_part_and_queued_in_part(
    customer: str, delivery: Delivery, environment: pytest.MonkeyPatch
) -> None:
    items = [{"id": f"si_{number}", "object": "subscription_item"} for number in range(MOST_RECORDS * 4)]
    body = {"id": "sub_1", "object": "subscription", "customer": customer, "items": {"data": items}}
    event = {
        "id": "evt_big",
        "object": "event",
        "type": "customer.subscription.updated",
        "livemode": False,
        "data": {"object": body},
    }
    forget()
    before = name_of(customer)
    forget()
    assert deliver(delivery(event)) == (200, "queued")
    assert kept()
    environment.setattr(reconcile.Reconciler, "run", lambda *_: reconcile_nothing())
    (swept,) = sweep().values()
    assert swept["replayed"] > 1
    assert swept["left"] == 0
    assert name_of(customer) == before
