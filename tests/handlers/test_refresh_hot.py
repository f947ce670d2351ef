"""What is read often is refreshed after an event, once, and never in the way of the acknowledgement."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from handlers.conftest import aws_client, forget, metrics_of

from stripe_cache import Settings
from stripe_cache.core.errors import SettingError
from stripe_cache.core.heat import HOT_HITS, NOTE_TTL
from stripe_cache.handlers import refresh, webhook
from stripe_cache.handlers.container import container
from stripe_cache.tiers.refresh_queue import SqsRefreshQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.fake_stripe.client import FakeStripe

    Delivery = Callable[..., dict[str, Any]]

KEY = "sk_test_handlers"


@pytest.fixture
def queue_url(environment: pytest.MonkeyPatch) -> str:
    url: str = aws_client("sqs").create_queue(QueueName=f"hot-{time.time_ns()}")["QueueUrl"]
    environment.setenv("STRIPE_CACHE_REFRESH_QUEUE_URL", url)
    environment.setenv("STRIPE_CACHE_REFRESH_HOT", "on")
    # Nobody waits here: the delay is looked at where it is sent.
    send = SqsRefreshQueue.send
    environment.setattr(SqsRefreshQueue, "send", lambda self, message, _delay=0: send(self, message))
    forget()
    return url


@pytest.fixture
def customer(queue_url: str, fake: FakeStripe) -> str:
    assert queue_url
    found: str = fake.seed(customers=2)["customers"][0]
    return found


def messages(url: str) -> list[dict[str, Any]]:
    got = aws_client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [{"messageId": one["MessageId"], "body": one["Body"]} for one in got]


def read(customer: str, times: int = 1, **params: Any) -> Any:
    for _ in range(times):
        answer = container().cache.get(f"/v1/customers/{customer}", params, api_key=KEY)
    return answer


def change(fake: FakeStripe, customer: str, name: str) -> dict[str, Any]:
    fake.mutate(f"/v1/customers/{customer}", name=name)
    event: dict[str, Any] = fake.truth("/v1/events?limit=1")["data"][0]
    return event


def test_a_burst_for_a_hot_record_costs_one_read_and_no_reader_waits(
    fake: FakeStripe, customer: str, delivery: Delivery, queue_url: str
) -> None:
    read(customer, 1 + HOT_HITS)
    read(customer, 1 + HOT_HITS, expand=["default_source"])
    reads = fake.counters()["reads"]
    for number in range(5):
        forget()
        assert webhook.handler(delivery(change(fake, customer, f"N{number}")), None)["statusCode"] == 200
    sent = messages(queue_url)
    assert sorted(json.loads(one["body"])["query"] for one in sent) == ["", "expand%5B%5D=default_source"]
    assert all(KEY not in one["body"] for one in sent)
    forget()
    assert refresh.handler({"Records": sent}, None) == {"batchItemFailures": []}
    assert fake.counters()["reads"] == reads + 2, "one for each variant, for five events"
    forget()
    assert read(customer).data["name"] == "N4"
    assert fake.counters()["reads"] == reads + 2
    # Nobody has read it often since: the next event asks for nothing.
    webhook.handler(delivery(change(fake, customer, "last")), None)
    assert messages(queue_url) == []


def test_what_a_reader_has_filled_in_the_meantime_is_not_read_again(
    fake: FakeStripe, customer: str, delivery: Delivery, queue_url: str
) -> None:
    read(customer, 1 + HOT_HITS)
    webhook.handler(delivery(change(fake, customer, "Changed")), None)
    (sent,) = messages(queue_url)
    forget()
    assert read(customer).data["name"] == "Changed"
    reads = fake.counters()["reads"]
    forget()
    assert refresh.handler({"Records": [sent]}, None) == {"batchItemFailures": []}
    assert fake.counters()["reads"] == reads


def test_what_is_read_seldom_or_is_a_list_is_only_voided(
    fake: FakeStripe, customer: str, delivery: Delivery, queue_url: str, servers: Any
) -> None:
    read(customer, HOT_HITS)
    for _ in range(HOT_HITS * 2):
        container().cache.get("/v1/customers", {"limit": 2}, api_key=KEY)
    webhook.handler(delivery(change(fake, customer, "Changed")), None)
    assert messages(queue_url) == []
    client = redis.Redis.from_url(servers[0].url, protocol=2)
    namespace = f"{container().settings.namespace}.test"
    assert client.keys(f"sc1:{{{namespace}|#hot}}*") == []
    read(customer, 1 + HOT_HITS)
    (note,) = client.keys(f"sc1:{{{namespace}|#hot}}*")
    assert 0 < client.ttl(note) <= NOTE_TTL
    client.close()


def test_a_queue_that_is_away_is_counted_and_the_event_is_done(
    fake: FakeStripe, customer: str, delivery: Delivery, queue_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    read(customer, 1 + HOT_HITS)
    aws_client("sqs").delete_queue(QueueUrl=queue_url)
    forget()
    capsys.readouterr()
    answer = webhook.handler(delivery(change(fake, customer, "Changed")), None)
    assert json.loads(answer["body"]) == {"result": "done"}
    assert metrics_of(capsys.readouterr().out)["RefreshSkipped"] == 1
    forget()
    assert read(customer).data["name"] == "Changed"


def test_a_note_of_somebody_elses_is_no_message(
    fake: FakeStripe, customer: str, delivery: Delivery, queue_url: str, servers: Any
) -> None:
    client = redis.Redis.from_url(servers[0].url, protocol=2)
    namespace = f"{container().settings.namespace}.test"
    for number, note in enumerate([b"{", b"[]", b'{"namespace": 1, "variant": "v"}', b"\xff", b"[" * 100_000]):
        client.hset(f"sc1:{{{namespace}|#hot}}{customer}", f"v{number}", note)
    client.close()
    assert webhook.handler(delivery(change(fake, customer, "Changed")), None)["statusCode"] == 200
    assert messages(queue_url) == []


def test_it_is_off_by_default_and_needs_redis_and_a_queue(
    fake: FakeStripe, customer: str, environment: pytest.MonkeyPatch, servers: Any
) -> None:
    environment.delenv("STRIPE_CACHE_REFRESH_HOT")
    forget()
    read(customer, 1 + HOT_HITS)
    client = redis.Redis.from_url(servers[0].url, protocol=2)
    assert client.keys(f"sc1:{{{container().settings.namespace}.test|#hot}}*") == []
    client.close()
    assert fake
    with pytest.raises(SettingError, match="STRIPE_CACHE_REFRESH_HOT is True: it needs STRIPE_CACHE_REDIS_URL"):
        Settings(refresh_hot=True, refresh_queue_url="https://sqs.example/q")
