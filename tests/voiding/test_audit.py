from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import stripe

from stripe_cache import Settings, StripeCache
from stripe_cache.core import audit, metrics
from stripe_cache.core.answer import Answer, Response
from stripe_cache.core.cache_status import CacheStatus
from stripe_cache.core.directives import NONE, Directives
from stripe_cache.core.errors import SettingError
from stripe_cache.http_client import default_inner
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from voiding.conftest import Watch

KEY = "sk_test_a"


class Counts:
    """A meter that adds up, and a clock that is set."""

    def __init__(self) -> None:
        self.counts: dict[str, float] = {}
        self.time = 0.0

    def count(self, metric: str, value: float = 1, **_: str) -> None:
        self.counts[metric] = self.counts.get(metric, 0) + value

    def observe(self, *_: Any, **__: Any) -> None:
        pass

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return self.time

    @property
    def found(self) -> tuple[float, float]:
        return self.counts.get(metrics.AUDIT_CHECKED, 0), self.counts.get(metrics.AUDIT_STALE, 0)


@pytest.fixture
def audited(watch: Watch) -> tuple[StripeCache, Counts]:
    """Another process on the same tiers, which audits every hit."""
    counts = Counts()
    settings = replace(watch.cache.settings, audit_rate=1.0)
    return StripeCache(settings, engine=build(settings, meter=counts, clock=counts)), counts


def test_a_stale_entry_is_found_counted_repaired_and_not_given(
    watch: Watch, audited: tuple[StripeCache, Counts]
) -> None:
    cache, counts = audited
    ids = watch.fake.seed(customers=2)
    one, other = (f"/v1/customers/{each}" for each in ids["customers"])
    expanded = f"/v1/subscriptions/{ids['subscriptions'][0]}?expand[]=customer"
    watch.read(one, other, expanded)
    # The event of this change is lost.
    watch.fake.mutate(one, name="Changed")
    assert cache.get(other, api_key=KEY).status.hit
    assert counts.found == (1, 0)
    answer = cache.get(expanded, api_key=KEY)
    assert answer.data["customer"]["name"] == "Changed"
    assert str(answer.status) == "stripe-cache; fwd=request; detail=audit"
    assert counts.found == (2, 1)
    # The repair names the object that differs, so that every answer with it is void.
    watch.voided(one, expanded)
    watch.kept(other)


def test_a_repair_reaches_the_other_namespace_that_keeps_the_object(
    watch: Watch, audited: tuple[StripeCache, Counts]
) -> None:
    account = "acct_1Audited"
    watch.fake.configure(connected=[account])
    itself = {"api_key": KEY, "stripe_account": account}
    watch.read(f"/v1/accounts/{account}")
    watch.cache.get("/v1/account", **itself)
    watch.fake.mutate(f"/v1/accounts/{account}", email="new@example.com")
    cache, counts = audited
    assert cache.get(f"/v1/accounts/{account}", api_key=KEY).data["email"] == "new@example.com"
    assert counts.found == (1, 1)
    elsewhere = StripeCache(watch.cache.settings).get("/v1/account", **itself)
    assert (elsewhere.status.hit, elsewhere.data["email"]) == (False, "new@example.com")


def test_the_clients_of_either_colour_are_audited(watch: Watch, audited: tuple[StripeCache, Counts]) -> None:
    cache, counts = audited
    one = watch.fake.seed(customers=1)["customers"][0]
    client = cache.client(KEY)
    watch.read(f"/v1/customers/{one}")
    watch.fake.mutate(f"/v1/customers/{one}", name="Sync")
    assert client.v1.customers.retrieve(one).name == "Sync"
    watch.read(f"/v1/customers/{one}")
    watch.fake.mutate(f"/v1/customers/{one}", name="Async")

    async def read() -> str | None:
        inner = default_inner()
        try:
            return (await cache.client(KEY, http_client=inner).v1.customers.retrieve_async(one)).name
        finally:
            await inner.close_async()

    assert asyncio.run(read()) == "Async"
    assert counts.found == (2, 2)


def test_an_object_that_is_gone_is_stale(watch: Watch, audited: tuple[StripeCache, Counts]) -> None:
    cache, counts = audited
    product = watch.fake.mutate("/v1/products", name="P")["id"]
    watch.read(f"/v1/products/{product}")
    watch.fake.mutate(f"/v1/products/{product}", "DELETE")
    with pytest.raises(stripe.InvalidRequestError):
        cache.get(f"/v1/products/{product}", api_key=KEY)
    assert counts.found == (1, 1)


def test_an_audit_that_stripe_does_not_answer_leaves_the_hit_and_says_nothing(
    watch: Watch, audited: tuple[StripeCache, Counts]
) -> None:
    cache, counts = audited
    one = f"/v1/customers/{watch.fake.seed(customers=1)['customers'][0]}"
    watch.read(one)
    for fault in ({"kind": "drop"}, {"kind": "error", "status": 500}):
        watch.fake.configure(faults=[fault])
        assert cache.get(one, api_key=KEY).status.hit
    assert counts.found == (0, 0)


def test_a_process_audits_no_more_than_its_budget(watch: Watch, audited: tuple[StripeCache, Counts]) -> None:
    cache, counts = audited
    one = f"/v1/customers/{watch.fake.seed(customers=1)['customers'][0]}"
    watch.read(one)
    for _ in range(10):
        cache.get(one, api_key=KEY)
    assert counts.found == (audit.MOST_PER_MINUTE, 0)
    counts.time += 60
    cache.get(one, api_key=KEY)
    assert counts.found == (audit.MOST_PER_MINUTE + 1, 0)
    calls = watch.fake.counters()["total"]
    counts.time += 60
    assert cache.get(one, api_key=KEY, cache_control="only-if-cached").status.hit
    assert watch.fake.counters()["total"] == calls


def test_what_was_voided_while_stripe_was_asked_is_not_called_stale(
    watch: Watch, audited: tuple[StripeCache, Counts]
) -> None:
    cache, counts = audited
    one = watch.fake.seed(customers=1)["customers"][0]
    path = f"/v1/customers/{one}"
    watch.read(path)
    auditor, plan = cache.engine.auditor, cache.engine.planner.plan(cache._request(path, None, (KEY, "", "", "")))
    assert auditor is not None
    hit = watch.cache.get(path, api_key=KEY)
    watch.cache.invalidate(one)
    changed = {**hit.data, "name": "Changed"}
    answer = auditor.check(plan, hit, Response(200, {}, json.dumps(changed).encode()))
    assert answer.data["name"] == "Changed"
    assert counts.found == (1, 0)


def test_order_of_keys_and_white_space_are_no_difference() -> None:
    assert audit._differing(b'{"id": "a", "x": {"b": 1, "c": 2}}', b'{"x":{"c":2,"b":1},"id":"a"}') == set()
    assert audit._differing(b'{"x": [1, 2]}', b'{"x": [2, 1]}') == {""}
    assert audit._differing(b'{"id": "a", "x": {"id": "b", "y": 1}}', b'{"id": "a", "x": {"id": "b", "y": 2}}') == {
        "a",
        "b",
    }
    assert audit._differing(b"{", b"{}") == {""}


def test_the_draw_follows_the_rate_and_takes_fresh_hits_alone() -> None:
    counts = Counts()
    engine = build(Settings(audit_rate=0.25), meter=counts, clock=counts)
    auditor = engine.auditor
    assert auditor is not None
    hit = Answer(b"{}", {}, 200, CacheStatus(hit=True, ttl=5, detail="redis"))
    drawn = 0
    for minute in range(4000):
        counts.time = minute * 60.0
        drawn += auditor.draws(hit, NONE)
    assert 800 < drawn < 1200
    always = build(Settings(audit_rate=1.0))
    assert always.auditor is not None
    assert always.auditor.draws(hit, NONE)
    assert not always.auditor.draws(hit, Directives(only_if_cached=True))
    for status in (CacheStatus(hit=True, ttl=-1), CacheStatus(fwd="uri-miss")):
        assert not always.auditor.draws(Answer(b"{}", {}, 200, status), NONE)


def test_no_audit_unless_asked_for_and_no_impossible_rate() -> None:
    assert build(Settings()).auditor is None
    assert Settings.from_env({"STRIPE_CACHE_AUDIT_RATE": "0.001"}).audit_rate == 0.001
    for rate in ("2", "-1", "nan"):
        with pytest.raises(SettingError, match="AUDIT_RATE"):
            Settings.from_env({"STRIPE_CACHE_AUDIT_RATE": rate})
