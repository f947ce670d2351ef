from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from world import World, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap import Tap

MISS, BYPASS = "stripe-cache; fwd=uri-miss; stored", "stripe-cache; fwd=bypass"


def control(words: str) -> Any:
    return {"headers": {"Cache-Control": words}}


@pytest.fixture
def customer(world: World) -> str:
    return world.seed()["customers"][0]


def test_a_first_read_is_stored_and_later_ones_hit_the_nearest_tier(world: World, customer: str) -> None:
    client = world.client(world.cache())
    assert status_of(client.v1.customers.retrieve(customer)) == MISS
    assert status_of(client.v1.customers.retrieve(customer)).startswith("stripe-cache; hit; ttl=")
    assert status_of(client.v1.customers.retrieve(customer)).endswith("detail=memory")
    assert status_of(world.client(world.cache()).v1.customers.retrieve(customer)).endswith("detail=redis")
    assert status_of(world.client(world.cache("dynamodb")).v1.customers.retrieve(customer)).endswith("detail=dynamodb")
    assert world.origin_reads() == 1


def test_a_hit_is_an_object_like_the_origins_and_keeps_its_request_id(world: World, customer: str) -> None:
    client = world.client(world.cache())
    first, second = (client.v1.customers.retrieve(customer) for _ in range(2))
    assert isinstance(second, stripe.Customer)
    assert second == first
    assert second.last_response.code == 200
    assert second.last_response.headers["request-id"] == first.last_response.request_id
    assert "authorization" not in {name.lower() for name in second.last_response.headers}


def test_the_order_of_parameters_and_expansions_makes_no_difference(world: World) -> None:
    client = world.client(world.cache())
    subscription = world.seed()["subscriptions"][0]
    expansions = ["customer", "latest_invoice"]
    client.v1.subscriptions.retrieve(subscription, {"expand": expansions})
    again = client.v1.subscriptions.retrieve(subscription, {"expand": expansions[::-1]})
    assert "hit" in status_of(again)
    assert "hit" not in status_of(client.v1.subscriptions.retrieve(subscription, {"expand": expansions[:1]}))


@pytest.mark.parametrize("ask", ["search", "cursor", "unlisted"])
def test_what_must_not_be_cached_is_passed_through(world: World, customer: str, ask: str) -> None:
    client = world.client(world.cache())

    def read() -> Any:
        if ask == "search":
            return client.v1.customers.search({"query": "name:'x'"})
        if ask == "cursor":
            return client.v1.customers.list({"starting_after": customer})
        return client.v1.payment_intents.list({})

    assert [status_of(read()) for _ in range(2)] == [BYPASS] * 2


def test_auto_paging_sees_every_member_once(world: World) -> None:
    made = {world.change("/v1/products", name=f"n{number}")["id"] for number in range(7)}
    client = world.client(world.cache())
    for _ in range(2):
        seen = [one.id for one in client.v1.products.list({"limit": 3}).auto_paging_iter()]
        assert len(seen) == 7
        assert set(seen) == made


class TestDirectives:
    def test_no_cache_goes_to_the_origin_and_refills(self, world: World, customer: str) -> None:
        client = world.client(world.cache())
        client.v1.customers.retrieve(customer)
        world.change(f"/v1/customers/{customer}", name="New")
        fresh = client.v1.customers.retrieve(customer, options=control("no-cache"))
        assert (fresh.name, status_of(fresh)) == ("New", "stripe-cache; fwd=request; stored")
        assert client.v1.customers.retrieve(customer).name == "New"

    def test_no_store_touches_nothing(self, world: World, customer: str) -> None:
        client = world.client(world.cache())
        direct = client.v1.customers.retrieve(customer, options=control("no-store"))
        assert status_of(direct) == "stripe-cache; fwd=request"
        assert status_of(client.v1.customers.retrieve(customer)) == MISS

    def test_only_if_cached_is_answered_or_refused_without_a_call(self, world: World, customer: str) -> None:
        client = world.client(world.cache())
        with pytest.raises(stripe.APIError, match="only-if-cached") as refused:
            client.v1.customers.retrieve(customer, options=control("only-if-cached"))
        assert refused.value.http_status == 504
        assert world.origin_reads() == 0
        client.v1.customers.retrieve(customer)
        assert "hit" in status_of(client.v1.customers.retrieve(customer, options=control("only-if-cached")))

    def test_max_age_and_max_stale_move_the_line(self, world: World, customer: str, clock: Any) -> None:
        cache = world.cache(clock=clock, policy={"customer": {"ttl": 100, "stale_window": 1000}})
        client = world.client(cache)
        client.v1.customers.retrieve(customer)
        clock.advance(50)
        fresh = status_of(client.v1.customers.retrieve(customer, options=control("max-age=60")))
        # An entry lives up to a tenth less than its TTL.
        assert re.search(r"hit; ttl=(4\d|50)\b", fresh)
        assert "fwd=request" in status_of(client.v1.customers.retrieve(customer, options=control("max-age=40")))
        clock.advance(130)
        stale = status_of(client.v1.customers.retrieve(customer, options=control("max-stale=60")))
        assert re.search(r"hit; ttl=-(3\d|40)\b", stale)
        assert stale.endswith('; max-stale"')
        assert "fwd=stale" in status_of(client.v1.customers.retrieve(customer, options=control("max-stale=10")))

    def test_they_never_reach_stripe_in_any_spelling(self, world: World, customer: str, tap: Tap) -> None:
        client = world.client(world.cache(api_base=tap.url))
        for name in ("Cache-Control", "cache-control", "CACHE-CONTROL"):
            answer = client.v1.customers.retrieve(customer, options={"headers": {name: "no-cache"}})
            assert "fwd=request" in status_of(answer)
        assert len(tap.seen) == 3
        assert all("cache-control" not in seen.headers for seen in tap.seen)

    @pytest.mark.parametrize("name", ["Stripe-Request-Trigger", "stripe-request-trigger"])
    def test_a_read_in_reaction_to_an_event_asks_the_origin(self, world: World, customer: str, name: str) -> None:
        client = world.client(world.cache())
        client.v1.customers.retrieve(customer)
        world.change(f"/v1/customers/{customer}", name="New")
        reaction = client.v1.customers.retrieve(customer, options={"headers": {name: "event=evt_1"}})
        assert reaction.name == "New"
        assert client.v1.customers.retrieve(customer).name == "New"


class TestTransport:
    def test_telemetry_tells_of_the_last_real_call_and_never_of_a_hit(
        self, world: World, customer: str, tap: Tap
    ) -> None:
        client = world.client(world.cache(api_base=tap.url))
        first = client.v1.customers.retrieve(customer)
        for _ in range(3):
            client.v1.customers.retrieve(customer)
        client.v1.customers.retrieve(customer, options=control("no-store"))
        client.v1.customers.retrieve(customer)
        client.v1.balance.retrieve()
        assert len(tap.seen) == 3
        told = [json.loads(seen.headers.get("X-Stripe-Client-Telemetry", "{}")) for seen in tap.seen]
        metrics = [one.get("last_request_metrics", {}) for one in told]
        assert metrics[0] == {}
        assert metrics[1]["request_id"] == first.last_response.request_id
        assert metrics[2]["request_id"] not in {None, first.last_response.request_id}
        assert all(one["request_duration_ms"] > 0 for one in metrics[1:])

    def test_what_is_sent_is_what_an_uncached_client_sends(self, world: World, customer: str, tap: Tap) -> None:
        key = world.key()
        options = {"stripe_account": world.account, "stripe_version": "2024-06-20"}
        params: Any = {"expand": ["data.customer"], "limit": 1}
        for client in (
            world.client(world.cache(api_base=tap.url), key, **options),
            world.plain(key, base_addresses={"api": tap.url}, **options),
        ):
            client.v1.subscriptions.list({"customer": customer, **params})
        cached, plain = tap.seen
        assert cached.target == plain.target
        varying = {"x-stripe-client-telemetry", "host"}
        assert {k.lower(): v for k, v in cached.headers.items() if k.lower() not in varying} == {
            k.lower(): v for k, v in plain.headers.items() if k.lower() not in varying
        }

    def test_the_sdks_retries_stay_its_own(self, world: World, customer: str) -> None:
        client = world.client(world.cache(), max_network_retries=2)
        world.fake.configure(faults=[{"kind": "error", "status": 500, "count": 2}])
        assert status_of(client.v1.customers.retrieve(customer)) == MISS
        assert world.fake.counters()["faults"] == {"error": 2}

    def test_streams_pass_through_uncached(self, world: World, customer: str) -> None:
        client = world.client(world.cache())
        requestor = client.v1.customers._requestor
        for _ in range(2):
            path = f"/v1/customers/{customer}"
            answer = requestor.request_stream("get", path, base_address="api")
            assert json.loads(answer.io.read())["id"] == customer
            answer.io.close()
        assert world.origin_reads() == 2

    def test_closing_closes_the_inner_client(self, world: World) -> None:
        class Inner(stripe.RequestsClient):
            closed = False

            def close(self) -> None:
                self.closed = True

        inner = Inner()
        world.cache().http_client(inner).close()  # type: ignore[no-untyped-call]
        assert inner.closed

    def test_proxy_and_verify_reach_the_inner_client(self, world: World) -> None:
        client = world.cache().client(world.key(), proxy="http://127.0.0.1:9", verify_ssl_certs=False)
        inner = client._requestor._client.inner  # type: ignore[union-attr]
        assert inner._proxy == {"http": "http://127.0.0.1:9", "https": "http://127.0.0.1:9"}
        assert inner._verify_ssl_certs is False

    def test_base_addresses_given_to_the_client_are_cached_too(self, world: World, customer: str, tap: Tap) -> None:
        client = world.client(world.cache(), base_addresses={"api": tap.url})
        statuses = [status_of(client.v1.customers.retrieve(customer)) for _ in range(2)]
        assert statuses[0] == MISS
        assert "hit" in statuses[1]
        assert len(tap.seen) == 1


class TestLegacyStyle:
    @pytest.fixture
    def legacy(self, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        inner = stripe.RequestsClient()
        monkeypatch.setattr(stripe, "api_key", world.key())
        monkeypatch.setattr(stripe, "api_base", world.fake.url)
        monkeypatch.setattr(stripe, "default_http_client", world.cache().http_client(inner))
        yield
        inner.close()

    def test_global_calls_are_cached_and_their_writes_invalidate(self, customer: str, legacy: None) -> None:
        del legacy
        assert status_of(stripe.Customer.retrieve(customer)) == MISS
        assert "hit" in status_of(stripe.Customer.retrieve(customer))
        stripe.Customer.modify(customer, name="New")
        assert stripe.Customer.retrieve(customer).name == "New"
        listed = [status_of(stripe.Customer.list(limit=3)) for _ in range(2)]
        assert listed[0] == MISS
        assert "hit" in listed[1]

    def test_a_refresh_of_an_object_reads_the_cache(self, customer: str, legacy: None) -> None:
        del legacy
        found = stripe.Customer.retrieve(customer)
        assert "hit" in status_of(found.refresh())
