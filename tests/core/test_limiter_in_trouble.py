"""What the limiter does when Redis is gone, its clock is set back, or somebody has written into its buckets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

from local.valkey import Valkey
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.errors import TierError
from stripe_cache.core.limiter import LOCAL_RECOVERY, Demand, Grant, Limiter
from stripe_cache.core.rate_limits import Bucket, RateLimits
from stripe_cache.tiers.rate_limit_redis import RECORD, RedisBuckets
from stripe_cache.tiers.redis import record_key

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "acct_1.test"
WHOLE, OWN = Bucket("", 25.0), Bucket("GET /v1/customers/{customer}", 25.0)
KEY = record_key(NAMESPACE, RECORD)


class Clock(SystemClock):
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def monotonic(self) -> float:  # type: ignore[override]  # the base's is a plain function
        return self.at


class DeadBuckets:
    """Stands for a Redis that is gone, without waiting for it."""

    def take(self, demand: Demand, reserve: float) -> Grant:
        raise TierError(f"redis: gone, for {demand.namespace} and {reserve}")

    def shrink(self, namespace: str, bucket: Bucket, reserve: float) -> None:
        raise TierError(f"redis: gone, for {namespace}, {bucket} and {reserve}")


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Any]:
    client = redis.Redis.from_url(valkey.url, protocol=2)
    client.flushall()
    yield client
    client.close()


def read(patience: float = 0.0) -> Demand:
    return Demand(NAMESPACE, (WHOLE, OWN), urgent=False, patience=patience, reads=1)


def write(patience: float = 0.0) -> Demand:
    return Demand(NAMESPACE, (WHOLE, OWN), urgent=True, patience=patience, refusable=False)


def test_a_lone_process_without_redis_is_refused_nothing_that_stripe_would_answer() -> None:
    for offered in (10, 20, 24):
        clock = Clock()
        limiter = Limiter(RateLimits(), clock, DeadBuckets())
        waits = []
        for step in range(offered * 10):
            clock.at += 1 / offered
            waits.append(limiter.ask(read() if step % 4 else write()))
        assert all(grant.given and not grant.wait for grant in waits), offered


def test_a_write_is_never_refused_by_a_guess_and_leaves_reads_their_tokens() -> None:
    clock = Clock()
    limiter = Limiter(RateLimits(processes=100), clock, DeadBuckets())
    for _ in range(300):
        grant = limiter.ask(write(patience=0.5))
        assert grant.given
        assert grant.wait <= 0.5
    assert not limiter.ask(read()).given
    clock.at += 10
    assert limiter.ask(read()).given


def test_many_processes_without_redis_settle_where_stripe_stops_objecting() -> None:
    clock = Clock()
    limiter = Limiter(RateLimits(), clock, DeadBuckets())
    sent = 0
    for step in range(1, 2001):
        clock.at += 0.01
        sent += limiter.ask(read()).given
        if step % 150 == 0:
            limiter.learn(NAMESPACE, (WHOLE, OWN), "endpoint-rate")
    assert 20 < sent < 20 * 25 / 3


def test_what_stripe_said_in_an_outage_is_forgotten_by_the_next_one() -> None:
    clock = Clock()
    limiter = Limiter(RateLimits(), clock, DeadBuckets())
    for _ in range(10):
        clock.at += 2
        limiter.learn(NAMESPACE, (WHOLE, OWN), "endpoint-rate")
    clock.at += LOCAL_RECOVERY + 1
    given = []
    for _ in range(200):
        clock.at += 0.05
        given.append(limiter.ask(read()).given)
    assert all(given)


def test_refusals_that_redis_was_told_of_are_not_held_against_this_process_once_more(client: Any) -> None:
    clock, away = Clock(), [False]
    limiter = Limiter(RateLimits(), clock, RedisBuckets(lambda: client), lambda: away[0])
    for _ in range(10):
        clock.at += 2
        limiter.learn(NAMESPACE, (WHOLE, OWN), "endpoint-rate")
    away[0] = True
    given = []
    for _ in range(100):
        clock.at += 0.05
        given.append(limiter.ask(read()).given)
    assert all(given)


def test_a_clock_of_redis_that_was_set_back_stops_nothing(client: Any) -> None:
    shared = RedisBuckets(lambda: client)
    ahead = time.time() + 3600
    for name in ("b", f"b{OWN.name}"):
        client.hset(KEY, name, f"-1 0 1 {ahead:.3f} {ahead:.3f}")
    grants = [shared.take(read(patience=2.0), 0.2) for _ in range(20)]
    assert all(grant.given for grant in grants)
    assert grants[0].wait == pytest.approx(0.1, abs=0.01)
    at = float(client.hget(KEY, "b").split()[3])
    assert abs(at - time.time()) < 60


def test_a_refusal_counts_again_although_the_last_one_seems_to_lie_ahead(client: Any) -> None:
    shared, ahead = RedisBuckets(lambda: client), time.time() + 3600
    client.hset(KEY, "b", f"5 1 1 {time.time():.3f} {ahead:.3f}")
    shared.take(read(), 0.2)
    *rest, shrunk = client.hget(KEY, "b").decode().split()
    assert float(shrunk) < time.time() + 60
    client.hset(KEY, "b", " ".join([*rest, str(float(shrunk) - 2)]))
    shared.shrink(NAMESPACE, WHOLE, 0.2)
    assert float(client.hget(KEY, "b").split()[2]) == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize(
    "value",
    [
        "-1e300 -1e300 1 0 0",
        "1 1 0 1e18 0",
        "1 1 -5 0 0",
        "1 1 1e-300 0 0",
        "0 0 1 inf 0",
        "0 0 1 -inf -inf",
        "nan nan nan nan nan",
        "5 1 1 nan 0",
        "inf inf inf inf inf",
        "-inf 0 1 0 0",
        "0 -1e17 1 1e300 1e300",
        "garbage",
        "a b c d e",
        "",
    ],
)
@pytest.mark.parametrize("reserve", [0.0, 0.2])
def test_a_bucket_that_somebody_else_wrote_is_taken_for_none(client: Any, value: str, reserve: float) -> None:
    shared = RedisBuckets(lambda: client)
    client.hset(KEY, "b", value)
    grants = [shared.take(read(patience=1.0), reserve) for _ in range(8)]
    assert all(grant.given for grant in grants)
    # Nor does it let more out than a bucket that is full.
    given = sum(shared.take(read(), reserve).given for _ in range(60))
    assert given <= 13
    shared.shrink(NAMESPACE, WHOLE, reserve)
    assert all(float(part) < 1e12 for part in client.hget(KEY, "b").split())


def test_a_forged_debt_is_bounded_and_forgotten(client: Any) -> None:
    shared = RedisBuckets(lambda: client)
    client.hset(KEY, "b", f"-1499 -1499 0.05 {time.time():.3f} 0")
    refused = shared.take(read(), 0.2)
    assert not refused.given
    assert refused.wait < 62


def test_a_longer_patience_than_anything_is_promised_for_makes_no_debt_of_its_own(client: Any) -> None:
    shared, slow = RedisBuckets(lambda: client), Bucket("", 0.1)
    demand = Demand(NAMESPACE, (slow,), urgent=False, patience=600.0)
    grants = [shared.take(demand, 0.0) for _ in range(12)]
    assert [grant.given for grant in grants] == [True] * 7 + [False] * 5
    assert max(grant.wait for grant in grants if grant.given) <= 60


class Forged:
    """A server that answers scripts as it likes, which no real one can be made to."""

    def __init__(self, reply: list[Any]) -> None:
        self.reply = reply

    def execute_command(self, *_command: Any) -> Any:
        return self.reply


@pytest.mark.parametrize(
    "reply", [[1, b"5", b""], [1, b"nan", b""], [0, b"1e9", b""], [0, b"inf", b""], [1, b"-3", b""]]
)
def test_a_turn_that_the_rate_does_not_allow_is_no_turn(reply: list[Any]) -> None:
    forged = RedisBuckets(lambda: Forged(reply))
    with pytest.raises(TierError, match="is the most there can be"):
        forged.take(read(patience=2.0), 0.2)
    limiter = Limiter(RateLimits(), Clock(), forged)
    assert limiter.ask(read()).given


def test_reads_of_a_day_that_are_no_number_are_a_tier_error(client: Any) -> None:
    client.hset(KEY, "r1", "many")
    with pytest.raises(TierError, match="no number"):
        RedisBuckets(lambda: client).by_day(NAMESPACE, [1])
