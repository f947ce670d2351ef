from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import redis
from handlers.conftest import forget, metrics_of

from stripe_cache.core.cursor import CURSOR_TTL
from stripe_cache.core.errors import RequestError, SettingError
from stripe_cache.core.reconcile import EventsUnavailableError
from stripe_cache.handlers import reconcile
from stripe_cache.handlers.container import container
from stripe_cache.wiring import cursor_store

if TYPE_CHECKING:
    from local.dynamodb import DynamoDB
    from local.fake_stripe.client import FakeStripe
    from local.valkey import Valkey

pytestmark = pytest.mark.usefixtures("environment")


def name_of(customer: str, account: str = "") -> Any:
    """Read through the cache, as another sandbox would."""
    forget()
    found = container().cache.get(f"/v1/customers/{customer}", api_key="sk_test_handlers", stripe_account=account)
    return found.data["name"]


def sweep(event: dict[str, Any] | None = None, context: Any = None) -> dict[str, Any]:
    forget()
    swept = reconcile.handler(event or {}, context)
    return next(iter(swept.values())) if len(swept) == 1 else swept


@pytest.mark.parametrize("place", ["dynamodb", "redis"])
def test_what_no_webhook_told_of_is_voided_by_the_next_sweep(
    fake: FakeStripe, environment: pytest.MonkeyPatch, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if place == "redis":
        environment.delenv("STRIPE_CACHE_TABLE")
    one, other = fake.seed(customers=2)["customers"]
    # Every delivery is lost; the change itself is in Stripe's list of events.
    fake.configure(webhooks=[{"url": "http://127.0.0.1:9/"}], delivery={"lose": 1.0})
    sweep()
    names = name_of(one), name_of(other)
    fake.mutate(f"/v1/customers/{one}", name="Changed")
    assert name_of(one) == names[0], "without the webhook the old name is served"
    assert fake.counters()["webhooks"]["lost"] == 1
    capsys.readouterr()
    assert sweep()["applied"] == 1
    totals = metrics_of(capsys.readouterr().out)
    assert (totals["ReconcileApplied"], totals["ReconcilePages"], totals["ReconcileLag"]) == (1, 1, 0)
    assert (name_of(one), name_of(other)) == ("Changed", names[1])
    calls = fake.counters()["total"]
    assert sweep()["applied"] == 0
    assert fake.counters()["total"] == calls + 1


def test_a_burst_is_one_invalidation_and_reads_no_more_than_its_budget(
    fake: FakeStripe, capsys: pytest.CaptureFixture[str]
) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    sweep()
    for number in range(130):
        fake.mutate(f"/v1/customers/{customer}", name=f"N{number}")
    calls = fake.counters()["total"]
    first = sweep({"calls": 1})
    assert fake.counters()["total"] == calls + 1
    assert (first["applied"], first["finished"]) == (100, False)
    capsys.readouterr()
    assert sweep()["finished"]
    assert metrics_of(capsys.readouterr().out)["Invalidation"] <= 2 * first["records"]
    assert name_of(customer) == "N129"


def test_the_cursor_lives_in_the_table_with_an_end(
    servers: tuple[Valkey, DynamoDB, FakeStripe], environment: pytest.MonkeyPatch
) -> None:
    del environment
    sweep()
    settings = container().settings
    client = boto3.client("dynamodb")
    key = {"pk": {"S": f"{settings.namespace}.test|#cursor"}}
    item = client.get_item(TableName=settings.table, Key=key)["Item"]
    assert json.loads(item["c"]["S"]).keys() >= {"after", "seen"}
    assert time.time() + 35 * 86400 < float(item["exp"]["N"]) < time.time() + CURSOR_TTL + 60
    assert not redis.Redis.from_url(servers[0].url).exists(f"sc1:{{{settings.namespace}.test|#cursor}}")


def test_without_a_table_it_lives_in_redis_with_an_end(
    servers: tuple[Valkey, DynamoDB, FakeStripe], environment: pytest.MonkeyPatch, fake: FakeStripe
) -> None:
    environment.delenv("STRIPE_CACHE_TABLE")
    fake.seed(customers=1)
    sweep()
    client = redis.Redis.from_url(servers[0].url)
    key = f"sc1:{{{container().settings.namespace}.test|#cursor}}"
    assert 35 * 86400 < client.ttl(key) <= CURSOR_TTL
    client.hset(key, "c", b"\xff{")
    assert sweep()["finished"], "a spoiled cursor starts over"
    client.close()


def test_a_cache_of_memory_alone_cannot_be_swept(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("STRIPE_CACHE_TABLE")
    environment.delenv("STRIPE_CACHE_REDIS_URL")
    with pytest.raises(SettingError, match="cursor needs a place"):
        sweep()
    with pytest.raises(SettingError):
        cursor_store(container().settings)


def test_a_connected_account_is_swept_in_its_own_namespace(fake: FakeStripe) -> None:
    account = "acct_1Connected"
    customer = fake.seed(customers=1, account=account)["customers"][0]
    sweep({"accounts": [account]})
    before = name_of(customer, account)
    fake.mutate(f"/v1/customers/{customer}", name="Changed", account_=account)
    assert name_of(customer, account) == before
    swept = sweep({"accounts": [account]})
    assert swept[f"{account}.test"]["applied"] == 1
    assert name_of(customer, account) == "Changed"


def test_an_expired_cursor_starts_over(fake: FakeStripe, capsys: pytest.CaptureFixture[str]) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    name_of(customer)
    forget()
    parts = container()
    namespace = f"{parts.settings.namespace}.test"
    cursor_store(parts.settings).save(namespace, '{"after": "evt_expired", "seen": []}', time.time())
    fake.mutate(f"/v1/customers/{customer}", name="Changed")
    capsys.readouterr()
    assert sweep()["applied"] == 1
    assert metrics_of(capsys.readouterr().out)["ReconcileRestarted"] == 1
    assert name_of(customer) == "Changed"


def test_a_refusal_of_stripes_is_an_error_and_loses_nothing(fake: FakeStripe) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    sweep()
    name_of(customer)
    fake.mutate(f"/v1/customers/{customer}", name="Changed")
    fake.configure(limits={"factor": 0.0001})
    with pytest.raises(EventsUnavailableError, match="RateLimitError"):
        sweep()
    fake.configure(limits={"factor": 100})
    assert sweep()["applied"] == 1
    assert name_of(customer) == "Changed"


@pytest.mark.parametrize("calls", [0, 1001, "10", None])
def test_a_budget_that_cannot_be_is_refused(calls: Any) -> None:
    with pytest.raises(RequestError, match="calls"):
        sweep({"calls": calls})


def test_half_of_the_invocations_time_is_kept_for_applying(fake: FakeStripe) -> None:
    class Context:
        # The gate asks first, for its deadline.
        left = iter([10_000, 10_000, 9000, 8000, 4000])

        def get_remaining_time_in_millis(self) -> int:
            return next(self.left, 4000)

    fake.seed(customers=1)
    sweep()
    for number in range(210):
        fake.mutate("/v1/customers", name=f"N{number}")
    swept = sweep({}, Context())
    assert (swept["pages"], swept["applied"], swept["finished"]) == (2, 200, False)
    assert sweep()["finished"]


def test_an_account_that_fails_keeps_no_other_one_waiting(fake: FakeStripe) -> None:
    customer = fake.seed(customers=2)["customers"][0]
    sweep()
    name_of(customer)
    for account in ("acct_1A", "acct_1B"):
        fake.seed(customers=1, account=account)
    fake.mutate(f"/v1/customers/{customer}", name="Changed")
    for _ in range(4):
        # Whichever is first in a run: a broken one is told at the end, and the rest is swept.
        with pytest.raises(reconcile.StripeCacheError, match="no account id"):
            sweep({"accounts": ["acct_1A", "not an account", "acct_1B"]})
    assert name_of(customer) == "Changed"
