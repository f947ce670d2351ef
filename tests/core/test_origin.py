from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from origin_help import (
    KEY,
    STALE_AFTER,
    Clock,
    Context,
    Metrics,
    calls,
    chained,
    no_cache,
    retrieve_async,
)

from local.fake_stripe.client import FakeStripe
from local.valkey import Valkey
from stripe_cache import Settings, StripeCache
from stripe_cache.core.breaker import Breaker
from stripe_cache.core.dead_socket import is_dead_socket
from stripe_cache.core.errors import OriginUnavailableError
from stripe_cache.core.origin import FAILURES_TO_OPEN, OriginCall

if TYPE_CHECKING:
    from collections.abc import Callable


# Connections that break, and calls that hang.


def test_a_read_on_a_dead_connection_is_sent_once_more(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe
) -> None:
    cache = make()
    client = cache.client(KEY)
    client.v1.customers.retrieve(customer)
    fake.configure(faults=[{"kind": "drop", "count": 1}])
    assert client.v1.customers.retrieve(customer, options=no_cache()).id == customer
    assert calls(fake) == 3
    fake.configure(faults=[{"kind": "drop", "count": 1}])
    assert cache.get(f"/v1/customers/{customer}", api_key=KEY, cache_control="no-cache").data["id"] == customer
    fake.configure(faults=[{"kind": "drop", "count": 1}])
    found = asyncio.run(retrieve_async(cache, customer, no_cache()))
    assert found.id == customer
    assert calls(fake) == 7
    assert not cache.engine.gate.is_open(fake.url)


def test_a_read_is_sent_once_more_and_not_twice(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe
) -> None:
    cache = make()
    fake.configure(faults=[{"kind": "drop"}])
    with pytest.raises(stripe.APIConnectionError):
        cache.client(KEY).v1.customers.retrieve(customer)
    assert calls(fake) == 2


def test_a_write_on_a_dead_connection_is_never_sent_again(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe
) -> None:
    cache = make()
    fake.configure(faults=[{"kind": "drop", "count": 1, "after": True}])
    with pytest.raises(stripe.APIConnectionError):
        cache.client(KEY).v1.customers.update(customer, params={"name": "x"})
    assert calls(fake) == 1


def test_a_restarted_stripe_costs_no_error(customer: str, fake: FakeStripe) -> None:
    """The connection dies while idle, as it does while a Lambda is frozen."""
    with FakeStripe(seed=4) as first:
        first.seed(customers=1)
        settings = Settings(api_base=first.url)
        cache = StripeCache(settings)
        client = cache.client(KEY)
        client.v1.prices.list()
        port = first.port
        first.kill()
        with FakeStripe(seed=4, port=port):
            client.v1.prices.list(options=no_cache())
    assert customer
    assert fake.alive


def test_refusals_and_timeouts_are_no_dead_connections() -> None:
    assert is_dead_socket(ConnectionResetError())
    assert is_dead_socket(chained(BrokenPipeError()))
    assert not is_dead_socket(chained(ConnectionRefusedError()))
    assert not is_dead_socket(chained(TimeoutError()))
    looped = ValueError()
    looped.args = (looped,)
    assert not is_dead_socket(looped)


def test_a_hanging_read_is_given_up_in_time(make: Callable[..., StripeCache], customer: str, fake: FakeStripe) -> None:
    cache = make(origin_timeout=0.4)
    fake.configure(faults=[{"kind": "hang"}])
    for read in (
        lambda: cache.client(KEY).v1.customers.retrieve(customer),
        lambda: cache.get(f"/v1/customers/{customer}", api_key=KEY),
        lambda: asyncio.run(retrieve_async(cache, customer)),
    ):
        began = time.monotonic()
        with pytest.raises(stripe.APIConnectionError):
            read()
        assert 0.3 < time.monotonic() - began < 3
    assert calls(fake) == 3


def test_a_hanging_read_ends_before_the_invocation_does(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe
) -> None:
    cache = make()
    client = cache.client(KEY)
    fake.configure(faults=[{"kind": "hang"}])
    cache.begin_invocation(Context(1000))
    began = time.monotonic()
    with pytest.raises(stripe.APIConnectionError):
        client.v1.customers.retrieve(customer)
    assert time.monotonic() - began < 0.95


# The breaker.


def test_repeated_failures_open_the_breaker_and_one_probe_closes_it(make: Callable[..., StripeCache]) -> None:
    clock, meter = Clock(), Metrics()
    gate = make(clock, meter, rate_limits=None).engine.gate
    call = OriginCall("acct_1.test", "get", "https://api.stripe.com", "/v1/customers/cus_1", has_stale=True)
    sent: list[int] = []

    def ask(status: int) -> int:
        def send() -> tuple[bytes, int, dict[str, str]]:
            sent.append(status)
            return b"{}", status, {}

        return gate.call(call, send)[1]

    assert [ask(503) for _ in range(FAILURES_TO_OPEN)] == [503] * FAILURES_TO_OPEN
    with pytest.raises(OriginUnavailableError, match="HTTP 503"):
        ask(503)
    assert len(sent) == FAILURES_TO_OPEN
    assert meter.counts["OriginOpen"] == 1
    # The probe fails: closed again, for twice as long.
    clock.at += 1.1
    assert ask(503) == 503
    clock.at += 1.1
    with pytest.raises(OriginUnavailableError):
        ask(200)
    clock.at += 1.1
    assert ask(200) == 200
    assert not gate.is_open(call.host)
    assert ask(200) == 200


def test_failures_of_calls_under_way_do_not_lengthen_the_pause() -> None:
    clock = Clock()
    breaker = Breaker(clock, FAILURES_TO_OPEN)
    assert [breaker.failed(was_slow=False) for _ in range(50)].count(True) == 1
    clock.at += 1.01
    assert not breaker.is_resting
    assert breaker.admits()
    assert not breaker.admits()
    assert not breaker.failed(was_slow=False)
    assert not breaker.failed(was_slow=False)
    clock.at += 2.01
    assert breaker.admits()
    breaker.succeeded()
    assert not breaker.is_open


@pytest.mark.parametrize("ending", [TimeoutError, KeyboardInterrupt])
def test_one_probe_at_a_time_whatever_others_meet_meanwhile(
    make: Callable[..., StripeCache], ending: type[BaseException]
) -> None:
    clock = Clock()
    gate = make(clock, rate_limits=None).engine.gate
    host = "https://api.stripe.com"
    probe = OriginCall("acct_1.test", "get", host, "/v1/customers/cus_1", has_stale=True)
    other = OriginCall("acct_1.test", "get", host, "/v1/customers/cus_2")
    gate.breaker(host).failed(was_slow=True)
    clock.at += 1.1

    def hang() -> Any:
        clock.at += 3.0
        with pytest.raises(OriginUnavailableError):
            gate.call(probe, lambda: (b"", 200, {}))
        with pytest.raises(ConnectionRefusedError):
            gate.call(other, refuse)
        clock.at += 3.0
        with pytest.raises(OriginUnavailableError):
            gate.call(probe, lambda: (b"", 200, {}))
        raise ending

    def refuse() -> Any:
        raise ConnectionRefusedError

    with pytest.raises(ending):
        gate.call(probe, hang)
    # A caller that was stopped has learnt nothing; a failure doubles the pause.
    clock.at += 0.1 if ending is KeyboardInterrupt else 2.1
    assert gate.call(probe, lambda: (b"", 200, {}))[1] == 200
    assert not gate.is_open(host)


@pytest.mark.parametrize("kind", ["read", "write"])
def test_whoever_has_nothing_else_is_sent_whatever_the_breaker_says(
    kind: str, make: Callable[..., StripeCache], customer: str, fake: FakeStripe
) -> None:
    cache = make(Clock(), rate_limits=None)
    client = cache.client(KEY)
    fake.configure(faults=[{"kind": "error"}])
    for number in range(FAILURES_TO_OPEN + 2):
        with pytest.raises(stripe.APIError):
            client.v1.customers.retrieve(customer)
        assert calls(fake) == number + 1
    assert cache.engine.gate.is_open(fake.url)
    # Stripe is well again, and no pause has passed: nobody may be refused what Stripe would answer.
    fake.configure(faults=[])
    if kind == "write":
        assert client.v1.customers.update(customer, params={"name": "x"}).name == "x"
    assert client.v1.customers.retrieve(customer).id == customer
    assert not cache.engine.gate.is_open(fake.url)


def test_one_silence_opens_the_breaker_for_those_who_have_a_stale_entry(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe
) -> None:
    cache = make(rate_limits=None, origin_timeout=0.3)
    fake.configure(faults=[{"kind": "hang", "path": "GET"}])
    with pytest.raises(stripe.APIConnectionError):
        cache.get(f"/v1/customers/{customer}", api_key=KEY)
    assert cache.engine.gate.is_open(fake.url)
    fake.configure(faults=[])
    assert cache.get(f"/v1/customers/{customer}", api_key=KEY).data["id"] == customer


def test_who_was_not_sent_because_of_a_stale_entry_that_is_gone_begins_again(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    with Valkey() as valkey:
        redis = {"redis_url": valkey.url, "namespace": "acct_1", "redis_timeout": 2, "memory_max_bytes": 0}
        cache = make(clock, rate_limits=None, policy=STALE_AFTER, **redis)
        cache.get(f"/v1/customers/{customer}", api_key=KEY)
        clock.at += 60
        call = cache.engine.gate.call

        def invalidated_meanwhile(asked: OriginCall, send: Callable[[], Any]) -> Any:
            if asked.has_stale:
                # Whoever finds the breaker open when it begins to look does not come this far.
                cache.engine.gate.breaker(fake.url).failed(was_slow=True)
                cache.invalidate(customer)
            return call(asked, send)

        monkeypatch.setattr(cache.engine.gate, "call", invalidated_meanwhile)
        assert cache.get(f"/v1/customers/{customer}", api_key=KEY).status.fwd == "uri-miss"


def test_errors_of_the_caller_never_open_the_breaker(make: Callable[..., StripeCache], fake: FakeStripe) -> None:
    cache = make(Clock(), rate_limits=None)
    for _ in range(FAILURES_TO_OPEN * 3):
        with pytest.raises(stripe.InvalidRequestError):
            cache.get("/v1/customers/cus_nobody", api_key=KEY)
    assert calls(fake) == FAILURES_TO_OPEN * 3
    assert not cache.engine.gate.is_open(fake.url)


def test_a_stale_entry_answers_while_the_breaker_is_open(
    make: Callable[..., StripeCache], customer: str, fake: FakeStripe
) -> None:
    clock = Clock()
    with Valkey() as valkey:
        cache = make(
            clock,
            rate_limits=None,
            policy=STALE_AFTER,
            redis_url=valkey.url,
            namespace="acct_1",
            redis_timeout=2,
            memory_max_bytes=0,
        )
        cache.get(f"/v1/customers/{customer}", api_key=KEY)
        clock.at += 60
        fake.configure(faults=[{"kind": "error"}])
        for _ in range(FAILURES_TO_OPEN + 3):
            answer = cache.get(f"/v1/customers/{customer}", api_key=KEY)
            assert answer.status.detail == "redis; stale-if-error"
        assert calls(fake) == 1 + FAILURES_TO_OPEN
        # What was invalidated is gone, whatever state Stripe is in.
        cache.invalidate(customer)
        with pytest.raises(stripe.APIError):
            cache.get(f"/v1/customers/{customer}", api_key=KEY)
        assert calls(fake) == 2 + FAILURES_TO_OPEN
