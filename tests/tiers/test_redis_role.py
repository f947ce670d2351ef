"""A plain `redis://` that leads to a replica, or to a master that was demoted while the connection stood."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from fakes import eventually

from local.valkey import Valkey
from stripe_cache.core.errors import TierError
from stripe_cache.core.ports import NullMeter, Slot
from stripe_cache.tiers import redis_role
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_role import DemotedError, is_known
from stripe_cache.tiers.redis_url import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stripe_cache.tiers.redis_wire import Wire

NOBODY = ("127.0.0.1", 1)


@pytest.fixture
def server() -> Iterator[Valkey]:
    with Valkey() as made:
        yield made


@pytest.fixture
def admin(server: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def tier(server: Valkey) -> RedisTier:
    return RedisTier(lambda: connect(parse(server.url), 20.0), NullMeter())


def read(tier: RedisTier) -> str | None:
    return tier.read("acct_1.test", [Slot("cus_1")])[0].generation


def test_a_replica_is_read_by_nobody(admin: redis.Redis, tier: RedisTier) -> None:
    tier.touch("acct_1.test", ["cus_1"], "g", 60)
    admin.replicaof(*NOBODY)
    new = RedisTier(tier._connect, NullMeter())
    with pytest.raises(TierError, match="is a replica"):
        read(new)
    admin.replicaof("NO", "ONE")
    assert read(new) == "g"


def test_a_master_demoted_while_the_connection_stands_is_found_out(
    admin: redis.Redis, tier: RedisTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier.touch("acct_1.test", ["cus_1"], "g", 60)
    admin.replicaof(*NOBODY)
    assert read(tier) == "g", "for a second it goes by what it was told"
    monkeypatch.setattr(redis_role, "EVERY", 0.0)
    with pytest.raises(TierError, match="is a replica"):
        read(tier)


def test_the_name_is_dialled_again_and_may_lead_to_the_new_master(
    server: Valkey, admin: redis.Redis, tier: RedisTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Valkey() as promoted:
        with redis.Redis.from_url(promoted.url) as other:
            other.replicaof("127.0.0.1", server.port)
            tier.touch("acct_1.test", ["cus_1"], "g", 60)
            assert eventually(lambda: bool(other.keys("*")))
            other.replicaof("NO", "ONE")
            admin.replicaof(*NOBODY)
            other.flushall()
        wire: Wire = tier._client()
        made, monkeypatch_port = wire._make, promoted.port

        def dial() -> object:
            connection = made()
            connection.port = monkeypatch_port
            return connection

        monkeypatch.setattr(wire, "_make", dial)
        monkeypatch.setattr(redis_role, "EVERY", 0.0)
        # What is still there on the demoted one is gone on the other.
        assert read(tier) is None


def test_it_costs_no_round_trip_and_is_not_asked_at_every_step(admin: redis.Redis, tier: RedisTier) -> None:
    for _ in range(20):
        read(tier)
    calls = admin.info("commandstats")
    assert calls["cmdstat_hmget"]["calls"] == 20
    asked = calls["cmdstat_info"]["calls"]
    assert asked < 10


def test_a_user_who_may_not_ask_is_served(server: Valkey, admin: redis.Redis) -> None:
    admin.execute_command("ACL", "SETUSER", "humble", "on", ">secret", "~*", "+@all", "-info")
    url = server.url.replace("redis://", "redis://humble:secret@")
    humble = RedisTier(lambda: connect(parse(url), 20.0), NullMeter())
    assert read(humble) is None
    assert read(humble) is None
    assert admin.info("commandstats")["cmdstat_info"]["rejected_calls"] == 1


@pytest.mark.parametrize(
    ("reply", "known"),
    [(b"# Replication\r\nrole:master\r\n", True), (redis.ResponseError("ERR"), False), (b"", False), (None, False)],
)
def test_only_a_clear_word_counts(reply: object, known: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    assert is_known(reply) is known


def test_a_replica_of_a_key_that_holds_the_word_is_none() -> None:
    assert is_known(b"role:master\r\nmaster_note:role:slave\r\n")
    with pytest.raises(DemotedError):
        is_known(b"# Replication\r\nrole:slave\r\n")
