from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from origin_help import Clock

from local.fake_stripe.client import FakeStripe
from local.valkey import Valkey
from stripe_cache import Settings, StripeCache
from stripe_cache.core.errors import SettingError
from stripe_cache.core.freshness import EARLY_WINDOW, JITTER, EarlyRenewal, jittered
from stripe_cache.core.latencies import Latencies
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk_test_a"
POLICY = {"customer": {"ttl": 60, "ttl_with_events": 60, "redis_ttl": 60, "stale_window": 600}}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Valkey, FakeStripe]]:
    with Valkey() as valkey, FakeStripe(seed=6) as fake:
        yield valkey, fake


@pytest.fixture
def fake(servers: tuple[Valkey, FakeStripe]) -> FakeStripe:
    servers[1].reset(state=True)
    servers[1].configure(limits={})
    return servers[1]


def make(servers: tuple[Valkey, FakeStripe], clock: Clock, **options: Any) -> StripeCache:
    valkey, fake = servers
    given = {"namespace": f"acct_{time.time_ns()}", "redis_url": valkey.url, "redis_timeout": 2, "policy": POLICY}
    settings = Settings(api_base=fake.url, rate_limits=None, **{**given, **options})
    return StripeCache(settings, engine=build(settings, clock=clock))


def test_jitter_only_shortens_and_is_the_same_for_the_same_entry() -> None:
    lives = [jittered(100.0, bytes([number]) * 16, 1e9) for number in range(200)]
    assert all(100 * (1 - JITTER) < life <= 100 for life in lives)
    # Spread over the whole tenth, not bunched.
    assert len({int(life) for life in lives}) == 10
    assert lives == [jittered(100.0, bytes([number]) * 16, 1e9) for number in range(200)]
    assert jittered(100.0, b"a", 1.0) != jittered(100.0, b"a", 2.0)


def test_entries_filled_at_one_moment_expire_at_different_ones(servers: Any, fake: FakeStripe) -> None:
    cache = make(servers, Clock())
    names = fake.seed(customers=30)["customers"]
    for name in names:
        cache.get(f"/v1/customers/{name}", api_key=KEY)
    left = {cache.get(f"/v1/customers/{name}", api_key=KEY).status.ttl for name in names}
    assert len(left) > 3
    assert all(one is not None and 53 <= one <= 60 for one in left)


def test_the_nearer_the_end_and_the_dearer_the_call_the_more_readers_go_early() -> None:
    cheap, dear = Latencies(), Latencies()
    cheap.note("customer", 0.05)
    dear.note("customer", 0.5)

    def share(latencies: Latencies, left: float) -> float:
        renewal = EarlyRenewal(latencies, "seed")
        return sum(renewal.is_due("customer", b"b" * 16, left, now / 7) for now in range(4000)) / 4000

    # exp(-left / cost) is the chance that a reader goes.
    assert share(dear, 0.5) == pytest.approx(0.37, abs=0.03)
    assert share(dear, 1.5) == pytest.approx(0.05, abs=0.015)
    assert share(cheap, 0.5) < 0.001
    assert share(Latencies(), 0.0) == 0
    assert share(dear, EARLY_WINDOW) < 0.001


def test_a_reader_draws_the_same_lot_in_every_tier() -> None:
    latencies = Latencies()
    latencies.note("customer", 0.5)
    renewal = EarlyRenewal(latencies, "seed")
    assert renewal.lot(b"b", 1.0) == renewal.lot(b"b", 1.0)
    assert renewal.lot(b"b", 1.0) != EarlyRenewal(latencies, "other").lot(b"b", 1.0)


def test_an_average_moves_towards_what_calls_cost_now() -> None:
    latencies = Latencies()
    latencies.note("price", 1.0)
    for _ in range(30):
        latencies.note("price", 0.1)
    assert latencies.of("price") == pytest.approx(0.1, abs=0.01)
    assert latencies.of("customer") == 0.0


def test_an_entry_near_its_end_is_renewed_by_a_reader_and_served_if_that_fails(servers: Any, fake: FakeStripe) -> None:
    clock = Clock()
    cache = make(servers, clock, memory_max_bytes=0)
    path = f"/v1/customers/{fake.seed(customers=1)['customers'][0]}"
    cache.get(path, api_key=KEY)
    left = cache.get(path, api_key=KEY).status.ttl
    assert left is not None
    clock.at += left - 1
    # A call that takes an hour must be made early by everybody.
    cache.engine.gate.latencies._average["customer"] = 3600.0
    fake.configure(faults=[{"kind": "error", "count": 1}])
    answer = cache.get(path, api_key=KEY)
    assert str(answer.status).startswith("stripe-cache; hit; ttl=")
    assert not answer.status.stale
    assert fake.counters()["total"] == 2
    assert cache.get(path, api_key=KEY, cache_control="only-if-cached").status.hit
    assert str(cache.get(path, api_key=KEY).status) == "stripe-cache; fwd=stale; stored"
    assert fake.counters()["total"] == 3


# A 404 that is kept.


def test_by_default_a_404_is_asked_for_every_time(servers: Any, fake: FakeStripe) -> None:
    cache = make(servers, Clock())
    for _ in range(2):
        with pytest.raises(stripe.InvalidRequestError):
            cache.get("/v1/coupons/SPRING", api_key=KEY)
    assert fake.counters()["total"] == 2


def test_a_404_is_kept_for_seconds_if_the_operator_says_so(servers: Any, fake: FakeStripe) -> None:
    clock = Clock()
    cache = make(servers, clock, negative_ttl=5)
    client = cache.client(KEY)
    for _ in range(3):
        with pytest.raises(stripe.InvalidRequestError, match="No such coupon"):
            cache.get("/v1/coupons/SPRING", api_key=KEY)
        with pytest.raises(stripe.InvalidRequestError, match="No such coupon"):
            cache.get_many(["/v1/coupons/SPRING"], api_key=KEY)
        with pytest.raises(stripe.InvalidRequestError, match="No such coupon") as caught:
            client.v1.coupons.retrieve("SPRING")
        assert caught.value.code == "resource_missing"
    assert fake.counters()["total"] == 1
    clock.at += 5.1
    with pytest.raises(stripe.InvalidRequestError):
        cache.get("/v1/coupons/SPRING", api_key=KEY)
    assert fake.counters()["total"] == 2


@pytest.mark.parametrize("fault", [None, {"kind": "drop", "count": 1, "after": True, "path": "POST"}])
def test_whoever_creates_reads_what_was_created(servers: Any, fake: FakeStripe, fault: Any) -> None:
    """Also when the answer to the creation is lost, and its body with it."""
    cache = make(servers, Clock(), negative_ttl=5)
    other = make(servers, Clock(), negative_ttl=5, namespace=cache.settings.namespace)
    for one in (cache, other):
        with pytest.raises(stripe.InvalidRequestError):
            one.get("/v1/coupons/SPRING", api_key=KEY)
    if fault:
        fake.configure(faults=[fault])
    client = cache.client(KEY)
    try:
        client.v1.coupons.create(params={"id": "SPRING", "percent_off": 10, "duration": "once"})
    except stripe.APIConnectionError:
        assert fault
    assert client.v1.coupons.retrieve("SPRING").percent_off == 10
    # In another process memory may lag by a second, as with every change.
    other.begin_invocation()
    assert other.get("/v1/coupons/SPRING", api_key=KEY).data["percent_off"] == 10


@pytest.mark.parametrize("seconds", [-1, 5.5, float("nan")])
def test_a_404_is_never_kept_for_long(seconds: float) -> None:
    with pytest.raises(SettingError, match="STRIPE_CACHE_NEGATIVE_TTL"):
        Settings(negative_ttl=seconds)
