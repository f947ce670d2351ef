"""Logging in with a token on a real server over TLS: signed for each connection, and anew once it is old."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from fakes import RecordingMeter, eventually

from stripe_cache.core import metrics
from stripe_cache.core.ports import NullMeter, Reading, Slot
from stripe_cache.tiers import redis_bounded
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.tiers.redis_connection import LONGEST_LIFE, connect
from stripe_cache.tiers.redis_iam import IamCredentials
from stripe_cache.tiers.redis_url import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis
    from fakes import FakeClock

    from local.redis_tls import TlsRedis

N = "acct_1.test"
SLOTS = [Slot("cus_1")]


class Issuer:
    """Plays ElastiCache: lets in the one token that was signed last, and nobody who shows an older one."""

    def __init__(self, admin: redis.Redis) -> None:
        self.admin = admin
        self.tokens: list[str] = []
        self.admits = True

    def issue(self, token: str) -> None:
        self.tokens.append(token)
        password = token if self.admits else "another"
        self.admin.execute_command("ACL", "SETUSER", "app", "reset", "on", f">{password}", "~sc1:*", "+@all")


@pytest.fixture
def admin(tls_redis: TlsRedis) -> Iterator[redis.Redis]:
    with tls_redis.client() as client:
        yield client
        client.execute_command("ACL", "DELUSER", "app")


@pytest.fixture
def issuer(admin: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Issuer:
    for name, value in {"ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": "secret-example"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    made = Issuer(admin)
    sign: Callable[[IamCredentials], tuple[str, str]] = IamCredentials.get_credentials

    def noted(credentials: IamCredentials) -> tuple[str, str]:
        user, token = sign(credentials)
        # A salt for this test alone: two tokens signed within a second are the same.
        token += f"&n={len(made.tokens)}"
        made.issue(token)
        return user, token

    monkeypatch.setattr(IamCredentials, "get_credentials", noted)
    return made


@pytest.fixture
def meter() -> RecordingMeter:
    return RecordingMeter()


@pytest.fixture
def guard(tls_redis: TlsRedis, clock: FakeClock, meter: RecordingMeter) -> GuardedTier:
    options = f"ca_certs={quote(str(tls_redis.authority.certificate))}&iam_user=app&cache_name=c&region=eu-west-1"
    url = f"rediss://127.0.0.1:{tls_redis.port}?{options}"
    return GuardedTier(RedisTier(lambda: connect(parse(url), 5.0), NullMeter()), 60.0, clock, meter)


def connected(admin: redis.Redis) -> int:
    return sum(row["user"] == "app" for row in admin.client_list())


def test_the_token_logs_in_once_for_many_commands(guard: GuardedTier, issuer: Issuer) -> None:
    for _ in range(5):
        guard.touch(N, ["cus_1"], "t1", 60)
    assert len(issuer.tokens) == 1
    assert connected(issuer.admin) == 1


def test_a_new_connection_gets_a_new_token_though_the_old_one_is_refused_by_now(
    guard: GuardedTier, issuer: Issuer, meter: RecordingMeter
) -> None:
    guard.touch(N, ["cus_1"], "t1", 60)
    for count in (2, 3):
        # As after twelve hours: ElastiCache cuts the connection, and knows the old token no more.
        issuer.admin.execute_command("CLIENT", "KILL", "USER", "app")
        assert guard.read(N, SLOTS)[0].generation == "t1"
        assert len(set(issuer.tokens)) == count
    assert meter.total(metrics.TIER_ERROR) == 0


def test_a_connection_is_replaced_before_elasticache_cuts_it(
    guard: GuardedTier, issuer: Issuer, meter: RecordingMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard.touch(N, ["cus_1"], "t1", 60)
    now = redis_bounded._now
    for step in range(1, 45):
        # Never silent for long: only its age tells.
        monkeypatch.setattr(redis_bounded, "_now", lambda by=step: (now()[0] + by * 280.0, now()[1] + by * 280.0))
        guard.read(N, SLOTS)
    assert len(issuer.tokens) == 1
    for step in range(45, int(LONGEST_LIFE / 280) + 2):
        monkeypatch.setattr(redis_bounded, "_now", lambda by=step: (now()[0] + by * 280.0, now()[1] + by * 280.0))
        assert guard.read(N, SLOTS)[0].generation == "t1"
    assert len(issuer.tokens) == 2
    assert connected(issuer.admin) == 1
    assert meter.total(metrics.TIER_ERROR) == 0


def test_a_refused_token_is_a_counted_miss_until_a_signed_one_is_accepted_again(
    guard: GuardedTier, issuer: Issuer, meter: RecordingMeter, clock: FakeClock
) -> None:
    issuer.admits = False
    for count in (1, 2):
        assert guard.read(N, SLOTS) == [Reading(None, None)]
        assert meter.counts[metrics.TIER_ERROR, "redis"] == count
        clock.advance(60)
    issuer.admits = True
    assert guard.touch(N, ["cus_1"], "t1", 60)[0][0].generation == "t1"
    assert len(set(issuer.tokens)) == 3


@pytest.mark.parametrize("failure", [RuntimeError("still expired: /home/me/.aws"), OSError("no route")])
def test_expired_credentials_are_a_counted_miss_that_leaves_no_open_connection(
    *,
    guard: GuardedTier,
    issuer: Issuer,
    meter: RecordingMeter,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failure: Exception,
) -> None:
    sign = IamCredentials._sign

    def expired(_: IamCredentials) -> str:
        raise failure

    monkeypatch.setattr(IamCredentials, "_sign", expired)
    before = len(issuer.admin.client_list())
    for _ in range(3):
        assert guard.read(N, SLOTS) == [Reading(None, None)]
        clock.advance(60)
    assert meter.counts[metrics.TIER_ERROR, "redis"] == 3
    # The server notices a moment later that its peer has hung up.
    assert eventually(lambda: len(issuer.admin.client_list()) == before)
    assert "/home/me" not in caplog.text
    monkeypatch.setattr(IamCredentials, "_sign", sign)
    assert guard.touch(N, ["cus_1"], "t1", 60)[0][0].generation == "t1"
