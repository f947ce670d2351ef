"""The referee must find what is planted: with made-up histories, and with a cache that is told nothing."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from local.demo import truth, views
from local.demo.traffic import Sample, ask
from local.demo.truth import Ack, History, Referee, Version
from local.demo.views import Shown
from local.demo.world import ENTITLEMENTS, FAKE_KEY, function_environment
from local.fake_stripe.client import FakeStripe
from local.valkey import Valkey
from local.workers import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/v1/customers/cus_1"
# "old" was true until second 100, when change 7 ended it; its webhook was acknowledged at 103.
HISTORY = {PATH: History([Version("old", 0, 100, 7), Version("new", 100, float("inf"), None)], {"cus_1"})}
REFEREE = Referee(HISTORY, [Ack("cus_1", 7, 103.0), Ack("cus_2", 9, 100.5), Ack("cus_1", 5, 90.0)], max_lag=1.0)


@pytest.mark.parametrize(
    ("value", "tier", "began", "verdict"),
    [
        ("new", "redis", 110.0, truth.FRESH),
        ("old", "redis", 99.0, truth.FRESH),
        ("old", "redis", 102.9, truth.AWAITING),
        ("old", "redis", 103.1, truth.STALE),
        ("old", "dynamodb", 103.1, truth.STALE),
        ("old", "", 103.1, truth.STALE),
        ("old", "memory", 103.9, truth.WITHIN_LAG),
        ("old", "memory", 104.1, truth.STALE),
        ("older", "redis", 99.0, truth.NEVER_TRUE),
    ],
)
def test_an_answer_is_judged_by_what_was_acknowledged_before_its_handler_began(
    value: str, tier: str, began: float, verdict: str
) -> None:
    assert REFEREE.verdict(Shown("customer", PATH, value, tier), began, began + 0.1) == verdict


def test_a_later_webhook_of_the_same_object_counts_when_the_earlier_one_was_lost() -> None:
    referee = Referee(HISTORY, [Ack("cus_1", 8, 105.0)], max_lag=1.0)
    assert referee.verdict(Shown("customer", PATH, "old", "redis"), 104.0, 104.1) == truth.AWAITING
    assert referee.verdict(Shown("customer", PATH, "old", "redis"), 106.0, 106.1) == truth.STALE


def test_a_value_that_came_back_is_judged_as_the_version_that_fits() -> None:
    again = {
        PATH: History(
            [*HISTORY[PATH].versions[:1], Version("new", 100, 200, 8), Version("old", 200, 1e9, None)], {"cus_1"}
        )
    }
    referee = Referee(again, [Ack("cus_1", 7, 103.0)], max_lag=1.0)
    assert referee.verdict(Shown("customer", PATH, "old", "redis"), 210.0, 210.1) == truth.FRESH
    assert referee.verdict(Shown("customer", PATH, "old", "redis"), 150.0, 150.1) == truth.STALE


def test_without_webhooks_a_version_is_over_the_moment_it_ends() -> None:
    referee = Referee(HISTORY, truth.acks_at_once(HISTORY), max_lag=0.0)
    assert referee.verdict(Shown("customer", PATH, "old", ""), 100.1, 100.2) == truth.STALE
    assert referee.verdict(Shown("customer", PATH, "old", ""), 99.9, 100.2) == truth.FRESH


@pytest.mark.parametrize(
    ("status", "tier"),
    [
        ("stripe-cache; hit; ttl=86012; detail=redis", "redis"),
        ('stripe-cache; hit; ttl=-12; detail="redis; stale-if-error"', "redis"),
        ("stripe-cache; fwd=uri-miss; stored", ""),
        ("", ""),
    ],
)
def test_the_tier_is_read_off_a_cache_status(status: str, tier: str) -> None:
    assert views.tier_of(status) == tier


class Sink(BaseHTTPRequestHandler):
    """Acknowledges every webhook and does nothing about it: the cache that must be caught."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def sink() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/webhook"
        server.shutdown()
        thread.join()


def judged(fake: FakeStripe, sample: Sample) -> truth.Judgement:
    kinds = {part.path: part.kind for part in views.shown(sample)}
    rows = fake.histories(list(kinds), bodies=True)
    histories = {path: truth.history_from(kind, rows[path]) for path, kind in kinds.items()}
    return Referee(histories, truth.acks_from(fake.deliveries()), 1.0).judge([sample])


def acknowledged(fake: FakeStripe, count: int) -> None:
    deadline = time.monotonic() + 10
    while fake.counters()["webhooks"]["acked"] < count:
        assert time.monotonic() < deadline, fake.deliveries()
        time.sleep(0.01)


def test_a_cache_that_acknowledges_and_forgets_is_caught_for_every_kind_of_read(sink: str) -> None:
    with FakeStripe(seed=5) as fake, Valkey() as valkey:
        ids = fake.seed(1, 3)
        fake.configure(webhooks=[{"url": sink}])
        environment = {**function_environment(fake.url, FAKE_KEY, events=True), "STRIPE_CACHE_REDIS_URL": valkey.url}
        # No memory tier, which would be allowed to lag, and no deadline that a busy machine could miss.
        environment |= {"STRIPE_CACHE_MEMORY_MAX_BYTES": "0", "STRIPE_CACHE_REDIS_TIMEOUT": "5"}
        customer = ids["customers"][0]
        with WorkerPool(1, ENTITLEMENTS, environment) as pool:
            first, second = (ask(pool, customer, time.time()) for _ in range(2))
            assert [part.tier for part in views.shown(first)] == ["", "", ""]
            assert [part.tier for part in views.shown(second)] == ["redis", "redis", "redis"]
            assert judged(fake, second).reads == {truth.FRESH: 3}
            price = second.body["entitlements"][0]["price"]
            fake.mutate(f"/v1/products/{fake.truth(f'/v1/prices/{price}')['product']}", name="Renamed")
            acknowledged(fake, 1)
            third = ask(pool, customer, time.time())
            assert judged(fake, third).reads == {truth.FRESH: 2, truth.STALE: 1}
            fake.mutate(f"/v1/customers/{customer}", name="Renamed")
            fake.mutate(f"/v1/subscriptions/{ids['subscriptions'][0]}", "DELETE")
            acknowledged(fake, 3)
            fourth = ask(pool, customer, time.time())
        found = judged(fake, fourth)
        assert (found.reads, found.stale) == ({truth.STALE: 3}, 1)
        assert "from redis" in found.examples[0]
        made_up = replace(fourth, body={**fourth.body, "name": "Nobody"})
        assert judged(fake, made_up).reads[truth.NEVER_TRUE] == 1
