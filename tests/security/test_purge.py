"""Erasing a customer: afterwards neither server's whole content holds the id, the name or the e-mail address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from security.dumps import redis_dump, table_dump

from stripe_cache import RequestError, Settings, StripeCache
from stripe_cache.core import protocol
from stripe_cache.core.ports import HoldChange
from stripe_cache.handlers import purge as handler_module
from stripe_cache.handlers.container import container
from stripe_cache.tiers import dynamodb_purge, redis_purge

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.dynamodb import DynamoDB
    from local.fake_stripe.client import FakeStripe

SK = "sk_test_purge"
NAME, EMAIL = 'Zoë "Zo" Erased', "zoe.erased@example.com"


@pytest.fixture
def people(fake: FakeStripe) -> tuple[str, str]:
    """Make two customers with subscriptions: the one to erase, and one to keep."""
    erased, kept = fake.seed(customers=2)["customers"][:2]
    client = StripeCache(Settings(api_base=fake.url)).client(SK)
    client.v1.customers.update(erased, params={"name": NAME, "email": EMAIL})
    return str(erased), str(kept)


@pytest.fixture(params=["plain", "sealed"])
def set_up(request: pytest.FixtureRequest, settings: Callable[..., Settings], kms: Any) -> Settings:
    if request.param == "plain":
        return settings()
    return settings(kms_key=kms.create_key()["KeyMetadata"]["Arn"])


def read_everything(cache: StripeCache, customer: str) -> list[str]:
    """Read the customer in many shapes; return how each was answered."""
    subscriptions = cache.get("/v1/subscriptions", {"customer": customer}, api_key=SK)
    answers = [subscriptions, cache.get(f"/v1/customers/{customer}", api_key=SK)]
    answers.append(cache.get("/v1/customers", {"limit": 10}, api_key=SK))
    answers.append(cache.get("/v1/invoices", {"customer": customer}, api_key=SK))
    for one in subscriptions.data["data"]:
        path = f"/v1/subscriptions/{one['id']}"
        answers.append(cache.get(path, api_key=SK))
        answers.append(cache.get(path, {"expand": ["customer"]}, api_key=SK))
    return [str(answer.status) for answer in answers]


def dumps(settings: Settings, dynamodb: DynamoDB) -> bytes:
    return redis_dump(settings.redis_url, settings.namespace) + table_dump(dynamodb, settings.table)


def test_afterwards_nothing_of_the_customer_is_anywhere(
    set_up: Settings, people: tuple[str, str], dynamodb: DynamoDB
) -> None:
    erased, kept = people
    cache = StripeCache(set_up)
    read_everything(cache, erased)
    read_everything(cache, kept)
    before = dumps(set_up, dynamodb)
    assert erased.encode() in before, "at least in the names of records"

    rehearsal = cache.purge(erased, terms=[EMAIL], dry_run=True)
    assert rehearsal.tiers["redis"].voided > 3
    assert rehearsal.tiers["redis"].forgotten == 0
    assert dumps(set_up, dynamodb).count(erased.encode()) == before.count(erased.encode())

    report = cache.purge(erased, terms=[EMAIL, NAME])
    assert report.is_complete
    assert {tier: one.unreadable for tier, one in report.tiers.items()} == {
        "dynamodb": 0,
        "redis": 0,
        "memory": 0,
        "outbox": 0,
    }
    assert report.tiers["dynamodb"].forgotten > 0
    after = dumps(set_up, dynamodb)
    for text in (erased, EMAIL, "Zoë", "Zo\\u00eb"):
        assert text.encode() not in after
    memory: Any = cache.engine.invalidator.memory
    held = memory.contents(f"{set_up.namespace}.test")
    assert erased not in repr(held)
    assert EMAIL not in repr(held)
    fresh = StripeCache(set_up)
    assert "hit" in str(fresh.get(f"/v1/customers/{kept}", api_key=SK).status), "others keep theirs"
    again = cache.purge(erased, terms=[EMAIL])
    assert sum(tier.voided for tier in again.tiers.values()) == 0


def test_a_connected_accounts_customer_is_erased_from_the_platforms_answers_too(
    settings: Callable[..., Settings], people: tuple[str, str], dynamodb: DynamoDB, fake: FakeStripe
) -> None:
    given, customer, account = settings(), people[0], "acct_1Purged"
    fake.mutate("/v1/customers", account_=account, id=customer, name=NAME, email=EMAIL)
    cache = StripeCache(given)
    for options in ({}, {"stripe_account": account}):
        cache.get(f"/v1/customers/{customer}", api_key=SK, **options)  # type: ignore[arg-type]

    def held(namespace: str) -> bool:
        stored = redis_dump(given.redis_url, namespace) + table_dump(dynamodb, given.table)
        return EMAIL.encode() in stored

    assert held(given.namespace)
    assert held(account)
    assert cache.purge(customer, account=account, terms=[EMAIL]).is_complete
    assert not held(given.namespace)
    assert not held(account)


def test_plain_stores_did_hold_what_the_purge_removed(
    settings: Callable[..., Settings], people: tuple[str, str], dynamodb: DynamoDB
) -> None:
    given = settings()
    read_everything(StripeCache(given), people[0])
    before = dumps(given, dynamodb)
    assert EMAIL.encode() in before
    assert any(text.encode() in before for text in ("Zoë", "Zo\\u00eb"))


def test_a_purge_in_pages_goes_on_where_it_stopped(
    settings: Callable[..., Settings],
    people: tuple[str, str],
    dynamodb: DynamoDB,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dynamodb_purge, "_ITEMS", 2)
    monkeypatch.setattr(redis_purge, "_COUNT", 2)
    given = settings()
    cache = StripeCache(given)
    read_everything(cache, people[0])
    cursor, pages = "", 0
    while pages == 0 or cursor:
        report = cache.purge(people[0], cursor=cursor, may_go_on=lambda: False)
        cursor, pages = report.cursor, pages + 1
        assert pages < 5000
    assert pages > 5
    assert people[0].encode() not in dumps(given, dynamodb)


def test_what_cannot_be_read_is_removed_too(
    settings: Callable[..., Settings], people: tuple[str, str], kms: Any, dynamodb: DynamoDB
) -> None:
    sealed = settings(kms_key=kms.create_key()["KeyMetadata"]["Arn"])
    read_everything(StripeCache(sealed), people[1])
    report = StripeCache(settings()).purge(people[0])
    assert report.tiers["dynamodb"].unreadable > 0
    assert b"SX\x01\x00" not in dumps(sealed, dynamodb)


def test_a_record_under_a_write_stays_until_the_write_is_over(
    settings: Callable[..., Settings], people: tuple[str, str]
) -> None:
    cache = StripeCache(settings())
    namespace = f"{cache.settings.namespace}.test"
    hold = protocol.new_hold(cache.engine.clock.now())
    cache.engine.invalidator.invalidate(namespace, [people[0]], HoldChange(add=hold))
    report = cache.purge(people[0])
    assert [report.tiers[name].busy for name in ("dynamodb", "redis", "memory")] == [1, 1, 1]
    assert not report.is_complete
    cache.engine.invalidator.invalidate(namespace, [people[0]], HoldChange(remove=hold))
    assert cache.purge(people[0]).is_complete


def test_a_store_that_is_away_is_named_in_the_report(
    settings: Callable[..., Settings], people: tuple[str, str]
) -> None:
    given = settings(redis_url="redis://127.0.0.1:9/0", redis_timeout=0.05)
    report = StripeCache(given).purge(people[0], dry_run=True)
    assert report.tiers["redis"].error == "redis: ConnectionError"
    assert not report.is_complete
    assert not report.tiers["dynamodb"].error


@pytest.mark.parametrize("wrong", ["", "/v1/customers", "cus 1", "cus_1/x", "#"])
def test_what_is_no_customer_is_refused(wrong: str) -> None:
    with pytest.raises(RequestError, match="no customer"):
        StripeCache(Settings()).purge(wrong)


@pytest.mark.parametrize("options", [{"terms": ["a"]}, {"cursor": "99:"}, {"cursor": "x"}, {"account": "a|b"}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        StripeCache(Settings()).purge("cus_1", **options)


class Context:
    """A Lambda's context with a given time left."""

    def __init__(self, left: int) -> None:
        self.left = left

    def get_remaining_time_in_millis(self) -> int:
        return self.left


def test_the_handler_stops_in_time_and_is_invoked_again_with_the_cursor(
    settings: Callable[..., Settings], people: tuple[str, str], dynamodb: DynamoDB, aws: pytest.MonkeyPatch
) -> None:
    given = settings()
    for name in ("namespace", "redis_url", "table", "api_base"):
        aws.setenv(f"STRIPE_CACHE_{name.upper()}", getattr(given, name))
    for name in ("REDIS_TIMEOUT", "DYNAMODB_TIMEOUT"):
        aws.setenv(f"STRIPE_CACHE_{name}", "20")
    container.cache_clear()
    try:
        read_everything(container().cache, people[0])
        report = handler_module.handler({"customer": people[0]}, Context(handler_module.MARGIN_MILLISECONDS))
        assert report["cursor"]
        assert not report["complete"]
        report = handler_module.handler({"customer": people[0], "cursor": report["cursor"]}, Context(900_000))
        assert report["complete"]
        assert people[0].encode() not in dumps(given, dynamodb)
        with pytest.raises(RequestError, match="no customer"):
            handler_module.handler({}, Context(1))
        with pytest.raises(RequestError, match="list of strings"):
            handler_module.handler({"customer": "cus_1", "terms": "x"}, Context(1))
    finally:
        container.cache_clear()
    boto3.client("dynamodb").delete_table(TableName=given.table)
