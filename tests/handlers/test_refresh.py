from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from origin_help import Clock

from stripe_cache import Settings, StripeCache
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.errors import TierError
from stripe_cache.core.plan import Plan
from stripe_cache.core.ports import NullMeter
from stripe_cache.core.refresh import LOCK_SECONDS, Refresher, message_of
from stripe_cache.handlers import refresh
from stripe_cache.handlers.container import container
from stripe_cache.tiers.dynamodb_connection import connect
from stripe_cache.tiers.dynamodb_table import Table
from stripe_cache.tiers.read_counts import DynamoDBReads
from stripe_cache.tiers.refresh_locks import DynamoDBLock
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.dynamodb import DynamoDB
    from local.fake_stripe.client import FakeStripe

KEY = "sk_test_handlers"
TIMES = {"ttl": 60, "ttl_with_events": 60, "redis_ttl": 60, "stale_window": 600}


class Queue:
    """Stands for a queue that is away; the real one is moto's."""

    def __init__(self) -> None:
        self.asked = 0

    def send(self, message: dict[str, Any], delay: int = 0) -> None:
        assert delay == 0, "a reader's refresh is wanted at once"
        self.asked += 1
        raise TierError(f"sqs: gone, for {message}")


@pytest.fixture
def queue_url(environment: pytest.MonkeyPatch) -> Iterator[str]:
    sqs = sqs_client()
    url: str = sqs.create_queue(QueueName=f"refresh-{time.time_ns()}")["QueueUrl"]
    environment.setenv("STRIPE_CACHE_REFRESH_QUEUE_URL", url)
    environment.setenv("STRIPE_CACHE_POLICY", json.dumps({"customer": TIMES}))
    yield url
    sqs.delete_queue(QueueUrl=url)


def sqs_client() -> Any:
    import boto3

    return boto3.client("sqs", region_name="us-east-1")


def messages(url: str) -> list[dict[str, Any]]:
    """Take everything out of the queue, as records of an SQS event."""
    got = sqs_client().receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [{"messageId": one["MessageId"], "body": one["Body"]} for one in got]


def reader(clock: Clock) -> StripeCache:
    """Make a cache as another process would, with a clock of its own."""
    settings = Settings.from_env()
    return StripeCache(settings, engine=build(settings, clock=clock))


@pytest.fixture
def stale(queue_url: str, fake: FakeStripe) -> tuple[StripeCache, Clock, str]:
    """Cache a customer, let it expire, and let it change at Stripe."""
    assert queue_url
    customer = fake.seed(customers=1)["customers"][0]
    clock = Clock()
    cache = reader(clock)
    cache.get(f"/v1/customers/{customer}", {"expand": ["default_source"]}, api_key=KEY)
    fake.mutate(f"/v1/customers/{customer}", name="New")
    clock.at += 61
    return cache, clock, customer


def get(cache: StripeCache, customer: str, key: str = KEY, cache_control: str = "") -> Any:
    return cache.get(
        f"/v1/customers/{customer}", {"expand": ["default_source"]}, api_key=key, cache_control=cache_control
    )


def test_a_stale_entry_answers_while_one_message_asks_for_its_refresh(
    stale: tuple[StripeCache, Clock, str], queue_url: str, fake: FakeStripe
) -> None:
    cache, clock, customer = stale
    answers = [get(cache, customer) for _ in range(5)]
    answers += [get(reader(clock), customer) for _ in range(3)]
    assert {answer.status.detail.partition("; ")[2] for answer in answers} == {"stale-while-revalidate"}
    assert all(answer.status.stale for answer in answers)
    assert fake.counters()["total"] == 1
    sent = messages(queue_url)
    assert len(sent) == 1
    body = json.loads(sent[0]["body"])
    assert KEY not in sent[0]["body"]
    assert sorted(body) == ["account", "context", "namespace", "query", "refresh", "variant", "version"]
    assert body["refresh"] == f"/v1/customers/{customer}"

    assert refresh.handler({"Records": sent}, None) == {"batchItemFailures": []}
    assert fake.counters()["total"] == 2
    clock.at += 1
    assert get(cache, customer).data["name"] == "New"
    assert not get(reader(Clock()), customer).status.stale
    assert fake.counters()["total"] == 2


def test_a_refresh_that_did_not_come_is_asked_for_again(
    stale: tuple[StripeCache, Clock, str], queue_url: str, servers: Any
) -> None:
    cache, clock, customer = stale
    get(cache, customer)
    assert len(messages(queue_url)) == 1
    clock.at += LOCK_SECONDS + 1
    # The lock in Redis goes by Redis's clock: let its time pass.
    import redis

    client = redis.Redis.from_url(servers[0].url, protocol=2)
    (lock,) = client.keys(f"sc1:{{{cache.settings.namespace}.test|#refresh*}}")
    assert 0 < client.pttl(lock) <= LOCK_SECONDS * 1000
    client.delete(lock)
    client.close()
    get(cache, customer)
    assert len(messages(queue_url)) == 1


def test_a_purge_passes_by_the_lock_and_the_limits(stale: tuple[StripeCache, Clock, str], queue_url: str) -> None:
    cache, _, customer = stale
    get(cache, customer)
    assert len(messages(queue_url)) == 1
    report = cache.purge(customer)
    assert report.is_complete
    assert {tier: one.unreadable for tier, one in report.tiers.items() if one.unreadable} == {}


def test_what_was_invalidated_is_never_served_stale(
    stale: tuple[StripeCache, Clock, str], queue_url: str, fake: FakeStripe
) -> None:
    cache, _, customer = stale
    cache.invalidate(customer)
    assert get(cache, customer).data["name"] == "New"
    assert messages(queue_url) == []
    assert fake.counters()["total"] == 2


@pytest.mark.parametrize("wish", ["no-cache", "max-age=100", "no-store"])
def test_who_wants_it_fresh_gets_it_fresh(stale: tuple[StripeCache, Clock, str], queue_url: str, wish: str) -> None:
    cache, _, customer = stale
    assert get(cache, customer, cache_control=wish).data["name"] == "New"
    assert messages(queue_url) == []


def test_after_the_stale_window_nothing_stale_is_served(stale: tuple[StripeCache, Clock, str], queue_url: str) -> None:
    cache, clock, customer = stale
    clock.at += 601
    assert get(cache, customer).data["name"] == "New"
    assert messages(queue_url) == []


def test_another_keys_entry_is_left_to_its_owner(queue_url: str, fake: FakeStripe) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    clock = Clock()
    cache = reader(clock)
    get(cache, customer, "sk_test_somebody_else")
    clock.at += 61
    get(cache, customer, "sk_test_somebody_else")
    (sent,) = messages(queue_url)
    assert refresh.handler({"Records": [sent]}, None) == {"batchItemFailures": []}
    assert fake.counters()["total"] == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "[]",
        "{}",
        '{"refresh": 1}',
        "[" * 100_000,
        json.dumps(dict.fromkeys(["refresh", "query", "namespace", "account", "context", "version", "variant"], "//x")),
    ],
)
def test_a_message_of_somebody_elses_is_dropped(queue_url: str, fake: FakeStripe, body: str) -> None:
    assert queue_url
    assert refresh.handler({"Records": [{"messageId": "1", "body": body}]}, None) == {"batchItemFailures": []}
    assert fake.counters()["total"] == 0


def test_a_refresh_that_stripe_fails_comes_back_and_one_it_refuses_does_not(
    stale: tuple[StripeCache, Clock, str], queue_url: str, fake: FakeStripe
) -> None:
    cache, _, customer = stale
    get(cache, customer)
    (sent,) = messages(queue_url)
    fake.configure(faults=[{"kind": "error", "count": 1}])
    assert refresh.handler({"Records": [sent]}, None) == {"batchItemFailures": [{"itemIdentifier": sent["messageId"]}]}
    fake.configure(faults=[{"kind": "error", "status": 400, "count": 1}])
    assert refresh.handler({"Records": [sent]}, None) == {"batchItemFailures": []}


def test_without_a_queue_a_stale_entry_is_read_anew(environment: pytest.MonkeyPatch, fake: FakeStripe) -> None:
    environment.setenv("STRIPE_CACHE_POLICY", json.dumps({"customer": TIMES}))
    customer, clock = fake.seed(customers=1)["customers"][0], Clock()
    cache = reader(clock)
    get(cache, customer)
    clock.at += 61
    assert get(cache, customer).status.fwd == "stale"


@pytest.mark.usefixtures("environment")
def test_a_queue_that_cannot_be_told_makes_the_reader_read_for_itself() -> None:
    queue = Queue()
    refresher = Refresher(queue, None, SystemClock(), NullMeter())
    plan = planned("/v1/customers/cus_1")
    assert not refresher.request(plan)
    assert not refresher.request(plan)
    # Once: a queue that is away is left alone for a while.
    assert queue.asked == 1


@pytest.mark.usefixtures("environment")
def test_a_message_names_what_to_read_and_no_credential() -> None:
    message = message_of(planned("/v1/customers/cus_1?expand%5B0%5D=default_source"))
    assert (message["refresh"], message["query"]) == ("/v1/customers/cus_1", "expand%5B%5D=default_source")
    assert KEY not in json.dumps(message)


def test_without_redis_the_table_holds_locks_and_read_counts(
    servers: tuple[Any, DynamoDB, Any], environment: Any
) -> None:
    assert environment
    clock = Clock()
    table = Table(lambda: connect(5), Settings.from_env().table)
    first, second = DynamoDBLock(table, clock), DynamoDBLock(table, clock)
    assert first.acquire("a.test", "v", 30)
    assert not second.acquire("a.test", "v", 30)
    assert second.acquire("a.test", "w", 30)
    clock.at += 31
    assert second.acquire("a.test", "v", 30)

    reads = DynamoDBReads(table)
    today = int(clock.at // 86400)
    reads.add("a.test", today, 20)
    reads.add("a.test", today, 3)
    reads.add("a.test", today - 29, 4)
    reads.add("b.test", today, 1)
    assert reads.by_day("a.test", range(today - 29, today + 1)) == {today: 23, today - 29: 4}
    assert servers[1].alive


def test_without_redis_reads_are_told_to_the_table_in_batches(
    environment: pytest.MonkeyPatch, fake: FakeStripe
) -> None:
    environment.delenv("STRIPE_CACHE_REDIS_URL")
    environment.setenv("STRIPE_CACHE_RATE_LIMITS", '{"test": 1000, "endpoint": 1000}')
    customer = fake.seed(customers=1)["customers"][0]
    one, two = reader(Clock()), reader(Clock())
    for _ in range(21):
        get(one, customer, cache_control="no-store")
    assert one.read_allocation(livemode=False).reads == 21
    assert two.read_allocation(livemode=False).reads == 20


def planned(target: str) -> Plan:
    cache = container().cache
    plan = cache.engine.planner.plan(cache._request(target, None, (KEY, "", "", "")))
    assert isinstance(plan, Plan)
    return plan
