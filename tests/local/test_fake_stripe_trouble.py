from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe

from local.fake_stripe.client import FakeStripe, FakeStripeError
from local.fake_stripe.faults import LatencySettings, Weather
from local.fake_stripe.limits import Limiter, LimitSettings
from local.fake_stripe.store import Scope

TEST, LIVE = Scope("acct_1", livemode=False), Scope("acct_1", livemode=True)


def client_of(fake: FakeStripe, retries: int = 0) -> stripe.StripeClient:
    return stripe.StripeClient("sk_test_a", base_addresses={"api": fake.url}, max_network_retries=retries)


def allowed(limiter: Limiter, scope: Scope, endpoint: str, now: float, tries: int = 200) -> int:
    return sum(limiter.refusal(scope, endpoint, 0, now) is None for _ in range(tries))


def test_an_account_has_a_second_of_requests_and_refills_evenly() -> None:
    limiter = Limiter()
    limiter.configure(LimitSettings(factor=1))
    assert allowed(limiter, TEST, "GET /v1/customers", 0.0) == 25
    assert limiter.refusal(TEST, "GET /v1/prices", 0, 0.0) == "global-rate"
    assert allowed(limiter, TEST, "GET /v1/prices", 0.4) == 10
    assert allowed(limiter, LIVE, "GET /v1/customers", 0.4) == 25
    assert limiter.refusal(LIVE, "GET /v1/customers", 0, 0.4) == "endpoint-rate"
    assert allowed(limiter, LIVE, "GET /v1/customers/search", 0.4) == 20


def test_limits_scale_and_are_off_at_zero() -> None:
    limiter = Limiter()
    limiter.configure(LimitSettings(factor=2))
    assert allowed(limiter, TEST, "GET /v1/customers", 0.0) == 50
    limiter.configure(LimitSettings(factor=0))
    assert allowed(limiter, TEST, "GET /v1/customers", 0.0) == 200


def test_latency_is_drawn_from_the_seed_between_its_bounds() -> None:
    def drawn(seed: int) -> list[float]:
        weather = Weather(seed)
        weather.latency = LatencySettings(factor=1)
        return [sum(weather.delays()) for _ in range(500)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert all(0.1 <= seconds <= 0.5 for seconds in drawn(1))
    assert 0.15 < sum(drawn(1)) / 500 < 0.30


def test_a_refused_request_says_why_and_the_sdk_does_not_try_again(fake: FakeStripe) -> None:
    fake.configure(limits={"factor": 0.2})
    client = client_of(fake, retries=3)

    def read_ten_times() -> None:
        for _ in range(10):
            client.v1.customers.list()

    with pytest.raises(stripe.RateLimitError) as raised:
        read_ten_times()
    assert raised.value.headers["Stripe-Rate-Limited-Reason"] == "global-rate"
    assert raised.value.json_body["error"]["code"] == "rate_limit"
    assert fake.counters()["endpoints"]["GET /v1/customers"]["429"] == 1
    assert fake.counters()["rate_limited"] == {"global-rate": 1}


def test_many_slow_requests_overlap_and_the_concurrency_limit_counts_them(fake: FakeStripe) -> None:
    fake.configure(latency={"factor": 1, "low": 200, "high": 250})
    client = client_of(fake)

    def read(_: int) -> str:
        try:
            client.v1.customers.list()
        except stripe.RateLimitError as error:
            return str(error.headers["Stripe-Rate-Limited-Reason"])
        return "ok"

    with ThreadPoolExecutor(10) as threads:
        begun = time.monotonic()
        assert list(threads.map(read, range(10))) == ["ok"] * 10
        assert 0.2 <= time.monotonic() - begun < 1.5
        assert 5 < fake.counters()["max_in_flight"] <= 10
        fake.configure(limits={"concurrency": 2})
        assert "global-concurrency" in list(threads.map(read, range(10)))


def test_a_server_error_strikes_as_often_as_told_and_only_where_told(fake: FakeStripe) -> None:
    fake.configure(faults=[{"kind": "error", "status": 503, "count": 1, "path": "^GET /v1/customers$"}])
    client = client_of(fake)
    assert client.v1.products.list().data == []
    with pytest.raises(stripe.APIError) as raised:
        client.v1.customers.list()
    assert raised.value.http_status == 503
    assert client.v1.customers.list().data == []
    assert fake.counters()["faults"] == {"error": 1}


def test_a_lock_timeout_is_tried_again_by_the_sdk(fake: FakeStripe) -> None:
    fake.configure(faults=[{"kind": "lock_timeout", "count": 1}])
    assert client_of(fake, retries=1).v1.customers.list().data == []
    assert fake.counters()["endpoints"]["GET /v1/customers"] == {"200": 1, "429": 1}


def test_a_connection_dropped_before_processing_changes_nothing(fake: FakeStripe) -> None:
    fake.configure(faults=[{"kind": "drop", "count": 1, "path": "POST"}])
    client = client_of(fake)
    with pytest.raises(stripe.APIConnectionError):
        client.v1.customers.create({})
    assert client.v1.customers.list().data == []


def test_a_connection_dropped_after_processing_leaves_one_object_however_often_it_is_retried(fake: FakeStripe) -> None:
    fake.configure(faults=[{"kind": "drop", "after": True, "count": 1, "path": "POST"}])
    client = client_of(fake, retries=2)
    made = client.v1.customers.create({"name": "Ada"})
    assert made.last_response.headers["idempotent-replayed"] == "true"
    assert [each.id for each in client.v1.customers.list().data] == [made.id]


def test_a_hanging_request_times_out_at_the_caller_and_may_have_been_processed(fake: FakeStripe) -> None:
    fake.configure(faults=[{"kind": "hang", "after": True, "count": 1, "path": "POST"}])
    impatient = stripe.StripeClient(
        "sk_test_a", base_addresses={"api": fake.url}, http_client=stripe.RequestsClient(timeout=0.2)
    )
    with pytest.raises(stripe.APIConnectionError):
        impatient.v1.customers.create({})
    assert len(client_of(fake).v1.customers.list().data) == 1


def test_a_fault_without_certainty_strikes_about_as_often_as_said(fake: FakeStripe) -> None:
    fake.configure(faults=[{"kind": "error", "probability": 0.5}])
    client = client_of(fake)
    failed = 0
    for _ in range(100):
        try:
            client.v1.customers.list()
        except stripe.APIError:
            failed += 1
    assert 25 < failed < 75


@pytest.mark.parametrize(
    "settings",
    [{"faults": [{"kind": "flood"}]}, {"latency": {"speed": 1}}, {"weather": {}}],
    ids=["kind", "field", "section"],
)
def test_a_setting_that_does_not_exist_is_refused(fake: FakeStripe, settings: dict[str, Any]) -> None:
    with pytest.raises(FakeStripeError):
        fake.configure(**settings)
    with pytest.raises(FakeStripeError, match="no such control"):
        fake.control("sead")


def test_reads_are_processed_in_the_middle_of_their_latency(fake: FakeStripe) -> None:
    customer = fake.seed(1, 0)["customers"][0]
    fake.configure(latency={"factor": 1, "low": 1000, "high": 1000})
    client = client_of(fake)
    seen = []
    reader = threading.Thread(target=lambda: seen.append(client.v1.customers.retrieve(customer).name))
    begun = time.time()
    reader.start()
    while fake.counters()["in_flight"] == 0:
        time.sleep(0.005)
    fake.mutate(f"/v1/customers/{customer}", name="during")
    reader.join()
    assert seen == ["during"]
    # A change right after the request arrived is seen by it: the answer is older than itself, not than its request.
    assert fake.history(customer)[-1]["since"] > begun
