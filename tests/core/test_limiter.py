from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

from local.valkey import Valkey
from stripe_cache import Settings
from stripe_cache.core import catalog
from stripe_cache.core.buckets import RECOVERY, Level
from stripe_cache.core.errors import SettingError, TierError
from stripe_cache.core.limiter import Demand, Grant, Limiter
from stripe_cache.core.rate_limits import Bucket, RateLimits
from stripe_cache.tiers import rate_limit_redis
from stripe_cache.tiers.redis import Script

if TYPE_CHECKING:
    from collections.abc import Iterator

WHOLE, OWN = Bucket("", 25.0), Bucket("GET /v1/customers/{customer}", 25.0)


class Clock:
    def __init__(self) -> None:
        self.at = 1_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class DeadBuckets:
    """Stands for Redis in tests of what happens without it."""

    def __init__(self) -> None:
        self.asked = 0

    def take(self, demand: Demand, reserve: float) -> Grant:
        self.asked += 1
        raise TierError(f"redis: gone, for {demand.namespace} and {reserve}")

    def shrink(self, namespace: str, bucket: Bucket, reserve: float) -> None:
        self.asked += 1
        raise TierError(f"redis: gone, for {namespace}, {bucket} and {reserve}")


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
def buckets(valkey: Valkey) -> Iterator[rate_limit_redis.RedisBuckets]:
    client = redis.Redis.from_url(valkey.url, protocol=2)
    client.flushall()
    yield rate_limit_redis.RedisBuckets(lambda: client)
    client.close()


def demand(*, urgent: bool = False, patience: float = 0.0, reads: int = 0) -> Demand:
    return Demand("acct_1.test", (WHOLE, OWN), urgent, patience, reads)


def admitted(limiter: Limiter, clock: Clock, seconds: float, offered: float, *, patience: float = 0.0) -> list[float]:
    """Offer calls at a steady pace; return the moments at which those that may go are sent."""
    sent = []
    for _ in range(int(seconds * offered)):
        clock.at += 1 / offered
        grant = limiter.ask(demand(patience=patience))
        if grant.given:
            sent.append(clock.at + grant.wait)
    return sorted(sent)


@pytest.mark.parametrize("patience", [0.0, 0.5, 2.0])
def test_no_window_of_time_holds_more_calls_than_stripes_bucket_admits(patience: float) -> None:
    clock = Clock()
    sent = admitted(Limiter(RateLimits(processes=1), clock), clock, 20, 250, patience=patience)
    # Stripe's bucket: 25 tokens, 25 a second. It starts full, and no call may find it empty.
    tokens, at = 25.0, sent[0]
    for moment in sent:
        tokens = min(25.0, tokens + (moment - at) * 25)
        at = moment
        assert tokens >= 1
        tokens -= 1


def test_an_unused_reserve_costs_the_reads_nothing() -> None:
    clock = Clock()
    sent = admitted(Limiter(RateLimits(processes=1), clock), clock, 40, 250, patience=1.0)
    assert len(sent) >= 40 * 25


def test_a_write_goes_at_once_although_reads_have_taken_every_turn() -> None:
    clock = Clock()
    limiter = Limiter(RateLimits(processes=1), clock)
    waits = []
    for step in range(2000):
        clock.at += 0.01
        for _ in range(3):
            limiter.ask(demand(patience=2.0))
        if step % 25 == 0:
            # Four writes a second: less than the reserve's five.
            waits.append(limiter.ask(demand(urgent=True, patience=2.0)))
    assert all(grant.given for grant in waits)
    assert max(grant.wait for grant in waits) < 0.05
    assert not limiter.ask(demand()).given


def test_who_cannot_wait_is_refused_at_once_and_takes_nothing() -> None:
    clock = Clock()
    limiter = Limiter(RateLimits(processes=1), clock)
    while limiter.ask(demand()).given:
        pass
    refused = limiter.ask(demand(patience=0.01))
    assert not refused.given
    assert refused.wait > 0.01
    for _ in range(100):
        limiter.ask(demand(patience=0.01))
    assert limiter.ask(demand(patience=1.0)).wait == pytest.approx(refused.wait)


def test_the_script_and_the_python_say_the_same(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same demands at the same moments, with the clock taken from the arguments instead of from the server."""
    moment = [0.0]

    def timed(script: Script) -> Script:
        fixed = script.source.replace("local time = redis.call('TIME')", "local time = {ARGV[#ARGV], 0}")
        assert fixed != script.source
        return Script("local moment = ARGV[#ARGV]\n" + fixed.replace("for i = 5, #ARGV,", "for i = 5, #ARGV - 1,"))

    client = redis.Redis.from_url(valkey.url, protocol=2)
    client.flushall()
    remote = rate_limit_redis.RedisBuckets(lambda: client)
    monkeypatch.setattr(rate_limit_redis, "TAKE", timed(rate_limit_redis.TAKE))
    monkeypatch.setattr(rate_limit_redis, "SHRINK", timed(rate_limit_redis.SHRINK))
    run = remote._run
    monkeypatch.setattr(remote, "_run", lambda script, namespace, *rest: run(script, namespace, *rest, moment[0]))
    monkeypatch.setattr("stripe_cache.core.limiter.LOCAL_RECOVERY", RECOVERY)
    clock = Clock()
    local = Limiter(RateLimits(processes=1), clock)
    draw = random.Random(7)  # noqa: S311 (a repeatable sequence of demands)
    refused = 0
    for _ in range(3000):
        clock.at += draw.choice([0.0, 0.001, 0.01, 0.03, 0.3, 2.5])
        moment[0] = clock.at
        if draw.random() < 0.02:
            bucket = draw.choice([WHOLE, OWN])
            reason = "endpoint-rate" if bucket is OWN else "global-rate"
            local.learn("acct_1.test", (WHOLE, OWN), reason)
            remote.shrink("acct_1.test", bucket, 0.2)
            continue
        asked = demand(urgent=draw.random() < 0.2, patience=draw.choice([0.0, 0.1, 1.0]))
        ours, theirs = local.ask(asked), remote.take(asked, 0.2)
        assert ours.given == theirs.given
        assert ours.wait == pytest.approx(theirs.wait, abs=2e-6)
        refused += not ours.given
    assert 100 < refused < 2900
    client.close()


def test_stripes_refusal_slows_the_bucket_it_names_for_a_while(buckets: rate_limit_redis.RedisBuckets) -> None:
    clock = Clock()
    limiter = Limiter(RateLimits(), clock, buckets)
    assert limiter.ask(demand()).given
    other = Demand("acct_1.test", (WHOLE, Bucket("GET /v1/prices", 25.0)), urgent=False, patience=0.0)
    limiter.learn("acct_1.test", (WHOLE, OWN), "endpoint-rate")
    assert not limiter.ask(demand()).given
    assert limiter.ask(other).given
    limiter.learn("acct_1.test", (WHOLE, OWN), "global-rate")
    assert not limiter.ask(other).given


@pytest.mark.parametrize("reason", ["", "resource-specific", "something-new"])
def test_a_refusal_that_names_no_bucket_slows_nothing(buckets: rate_limit_redis.RedisBuckets, reason: str) -> None:
    limiter = Limiter(RateLimits(), Clock(), buckets)
    limiter.learn("acct_1.test", (WHOLE, OWN), reason)
    assert limiter.ask(demand()).given


def test_a_burst_of_refusals_counts_once_and_the_rate_comes_back() -> None:
    level = Level.new(25.0, 0.2, 1.0, 0.0)
    for _ in range(10):
        level.shrink()
    assert level.factor == pytest.approx(0.6)
    for second in range(1, 14):
        level.refill(25.0, 0.2, float(second), RECOVERY)
    assert level.factor == 1.0


def test_without_redis_a_process_takes_its_share_grows_and_shrinks() -> None:
    clock = Clock()
    limiter = Limiter(RateLimits(processes=10), clock)
    first = len(admitted(limiter, clock, 4, 100))
    assert 8 <= first <= 16
    admitted(limiter, clock, 300, 100)
    grown = len(admitted(limiter, clock, 4, 100))
    assert grown >= 95
    limiter.learn("acct_1.test", (WHOLE, OWN), "endpoint-rate")
    assert len(admitted(limiter, clock, 4, 100)) < grown * 0.75


def test_a_dead_redis_is_asked_once_and_then_left_alone() -> None:
    clock, dead = Clock(), DeadBuckets()
    limiter = Limiter(RateLimits(processes=1), clock, dead)
    assert sum(limiter.ask(demand(reads=1)).given for _ in range(5)) == 5
    assert dead.asked == 1
    assert limiter.uncounted("acct_1.test") == 5


def test_a_redis_known_to_be_away_is_not_asked() -> None:
    dead = DeadBuckets()
    limiter = Limiter(RateLimits(processes=1), Clock(), dead, lambda: True)
    assert limiter.ask(demand()).given
    limiter.learn("acct_1.test", (WHOLE, OWN), "global-rate")
    assert dead.asked == 0


def test_the_hash_of_a_namespace_has_a_ttl_and_counts_its_reads(valkey: Valkey, buckets: Any) -> None:
    limiter = Limiter(RateLimits(), Clock(), buckets)
    given = sum(limiter.ask(demand(reads=1)).given for _ in range(30))
    assert 0 < given < 30
    client = redis.Redis.from_url(valkey.url, protocol=2)
    (key,) = client.keys()
    assert key == b"sc1:{acct_1.test|#rate}"
    assert client.ttl(key) > 30 * 86400
    today = int(time.time() // 86400)
    assert buckets.by_day("acct_1.test", range(today - 29, today + 2)) == {today: given}
    client.close()


def test_search_and_files_are_slower_and_single_endpoints_can_be_set() -> None:
    limits = RateLimits().with_overrides({"endpoints": {"GET /v1/prices": 60}, "live": 500})
    search, prices, files = (catalog.match("get", f"/v1/{name}") for name in ("customers/search", "prices", "files"))
    assert limits.buckets("a.live", "get", search) == (("", 500.0), ("GET /v1/customers/search", 20.0))
    assert limits.buckets("a.test", "get", prices) == (("", 25.0), ("GET /v1/prices", 60.0))
    assert limits.buckets("a.test", "get", files)[1].rate == 20.0
    assert limits.buckets("a.test", "post", None)[1] == ("POST *", 25.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"lives": 5}', "did you mean 'live'"),
        ('{"live": 0}', "live is 0: use a number from 0.1"),
        ('{"live": true}', "use a number"),
        ('{"live": 1e400}', "use a number"),
        ('{"reserve": 1}', "reserve is 1"),
        ('{"endpoints": [1]}', "endpoints must be an object"),
        ('{"endpoints": {"GET /v1/prices": "many"}}', "endpoints['GET /v1/prices']"),
        ("[1]", "is a JSON list"),
        ("on", "neither off nor JSON"),
    ],
)
def test_limits_that_cannot_work_are_named(text: str, said: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_env({"STRIPE_CACHE_RATE_LIMITS": text})
    assert said in str(caught.value)
    assert "STRIPE_CACHE_RATE_LIMITS" in str(caught.value)
