"""A cache with a KMS key on the real Valkey and DynamoDB Local."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from security.dumps import redis_dump, table_dump

from stripe_cache import SettingError, Settings, StripeCache
from stripe_cache.core import metrics
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from security.conftest import CountingMeter

    from local.dynamodb import DynamoDB
    from local.fake_stripe.client import FakeStripe

SK = "sk_test_encrypted"


@pytest.fixture
def key(kms: Any) -> str:
    return str(kms.create_key()["KeyMetadata"]["Arn"])


@pytest.fixture
def customer(fake: FakeStripe) -> str:
    return str(fake.seed(customers=1)["customers"][0])


def read(settings: Settings, customer: str, meter: Any = None) -> str:
    """Read in a new process, as it were."""
    cache = StripeCache(settings, engine=build(settings, meter=meter))
    answer = cache.get(f"/v1/customers/{customer}", api_key=SK)
    assert answer.data["id"] == customer
    return str(answer.status)


def test_both_stores_hold_nothing_of_the_body(
    settings: Callable[..., Settings], key: str, customer: str, dynamodb: DynamoDB
) -> None:
    plain, sealed = settings(), settings(kms_key=key)
    read(plain, customer)
    body = StripeCache(plain).get(f"/v1/customers/{customer}", api_key=SK).data
    email = body["email"].encode()
    assert email in redis_dump(plain.redis_url, plain.namespace), "the search finds what is stored plain"
    assert email in table_dump(dynamodb, plain.table)
    StripeCache(plain).invalidate(customer)
    assert "stored" in read(sealed, customer)
    assert "hit" in read(sealed, customer)
    assert email not in redis_dump(plain.redis_url, plain.namespace)
    assert email not in table_dump(dynamodb, plain.table)


def test_each_store_alone_serves_sealed_entries(settings: Callable[..., Settings], key: str, customer: str) -> None:
    both = settings(kms_key=key)
    read(both, customer)
    assert "detail=dynamodb" in read(settings(kms_key=key, redis_url=""), customer)
    assert "detail=redis" in read(settings(kms_key=key, table=""), customer)


@pytest.mark.parametrize("sealed_first", [True, False])
def test_plain_and_sealed_entries_do_not_pass_for_each_other(
    settings: Callable[..., Settings], key: str, customer: str, meter: CountingMeter, *, sealed_first: bool
) -> None:
    first, second = settings(kms_key=key), settings()
    if not sealed_first:
        first, second = second, first
    read(first, customer)
    assert "hit" in read(first, customer)
    assert "fwd" in read(second, customer, meter)
    assert meter.counts[metrics.CORRUPT_ENTRY] == 3, "once in each store, and once more under the claim"


def test_without_kms_calls_succeed_and_nothing_is_stored(
    settings: Callable[..., Settings],
    customer: str,
    meter: CountingMeter,
    aws: pytest.MonkeyPatch,
    dynamodb: DynamoDB,
) -> None:
    aws.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")
    away = settings(kms_key="alias/away", memory_max_bytes=0)
    for _ in range(3):
        assert "fwd" in read(away, customer, meter)
    assert meter.counts[metrics.FILL_SKIPPED] == 6
    assert metrics.TIER_ERROR not in meter.counts, "the tiers themselves are well"
    assert customer.encode() not in redis_dump(away.redis_url, away.namespace).replace(b"|" + customer.encode(), b"")
    assert b"@example" not in table_dump(dynamodb, away.table)


@pytest.mark.parametrize("wrong", ["a b", "one,two,three", ",", "key,"])
def test_what_cannot_name_a_kms_key_is_told(wrong: str) -> None:
    with pytest.raises(SettingError, match="STRIPE_CACHE_KMS_KEY"):
        Settings(kms_key=wrong)


def test_a_missing_package_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SettingError, match=r"stripe-cache\[encryption\]"):
        StripeCache(Settings(namespace="acct_1", redis_url="redis://127.0.0.1:1", kms_key="alias/x"))
