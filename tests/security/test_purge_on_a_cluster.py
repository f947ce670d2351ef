"""Searching a Redis cluster: each node has its own part, and its own cursor."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import redis

from local.ports import free_port
from local.process import ServerProcess
from local.valkey import _pings, binary
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.entry import Entry, Stored
from stripe_cache.core.key import Key
from stripe_cache.core.ports import NullMeter, StoreOutcome
from stripe_cache.core.purge import Terms
from stripe_cache.core.sealing import UNSEALED
from stripe_cache.tiers import redis_purge
from stripe_cache.tiers.heat_redis import RedisHeat
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_names import redis_names
from stripe_cache.tiers.redis_purge import RedisSearch
from stripe_cache.tiers.redis_url import parse
from stripe_cache.tiers.seen_stores import RedisSeen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLOTS = ((0, 8191), (8192, 16383))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start two masters with half of the slots each."""
    servers, ports = [], []
    try:
        for first, last in SLOTS:
            port, bus = free_port(), free_port()
            servers.append(node(port, bus, tmp_path_factory.mktemp("cluster")))
            client = redis.Redis(port=port)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            for other, other_bus in ports:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", other, other_bus)
            client.close()
            ports.append((port, bus))
        deadline = time.monotonic() + 30
        for port, _ in ports:
            client = redis.Redis(port=port)
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True):
                assert time.monotonic() < deadline, "the cluster did not form"
                time.sleep(0.05)  # there is no event to wait for: the nodes gossip
            client.close()
        yield f"redis+cluster://127.0.0.1:{ports[0][0]}"
    finally:
        for server in servers:
            server.stop()


def node(port: int, bus: int, directory: Path) -> ServerProcess:
    command: list[str | Path] = [
        binary(),
        *("--port", str(port), "--cluster-port", str(bus), "--bind", "127.0.0.1", "--save", ""),
        *("--cluster-enabled", "yes", "--cluster-config-file", directory / "nodes.conf"),
    ]
    return ServerProcess("valkey-cluster", command, ready=lambda: _pings(port), start_seconds=15)


def test_every_node_is_searched_to_its_end(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_purge, "_COUNT", 5)
    tier = RedisTier(lambda: connect(parse(cluster), 10.0), NullMeter())
    customers = {f"cus_{number}" for number in range(60)}
    for record in customers:
        key = Key.of("n.test", record, "v")
        (state,), _ = tier.touch("n.test", [record], "token", 60)
        stored = Stored(Entry(200, (), b'{"customer": "cus_x", "email": "a@b.test"}', 0.0, 1.0, 1.0))
        assert tier.store(key, state.generation, stored, 60) is StoreOutcome.STORED
    search = RedisSearch(lambda: connect(parse(cluster), 10.0), SystemClock(), UNSEALED)
    found: set[str] = set()
    cursor, pages = "", 0
    while pages == 0 or cursor:
        page = search.search("n.test", Terms(["A@B.test"]), cursor)
        found |= set(page.matching)
        cursor, pages = page.cursor, pages + 1
    assert found == customers
    assert pages > 4
    assert search.forget("n.test", sorted(customers)) == ()
    assert search.search("n.test", Terms(["cus_"]), "").matching == ()


def test_marks_notes_and_names_of_a_namespace_are_found_on_whatever_node_they_are(cluster: str) -> None:
    client = connect(parse(cluster), 5.0)
    seen, heat = RedisSeen(lambda: client), RedisHeat(lambda: client)
    for namespace in ("acct_a.test", "acct_b.test", "acct_c.live", "acct_d.live"):
        seen.mark(namespace, ["evt_1", "evt_2"])
        assert seen.known(namespace, ["evt_1", "evt_2", "evt_3"]) == {"evt_1", "evt_2"}
        heat.note(namespace, "cus_1", "v", "one")
        heat.note(namespace, "cus_2", "v", "two")
        assert sorted(heat.take(namespace, ["cus_1", "cus_2", "cus_3"])) == ["one", "two"]
        assert heat.take(namespace, ["cus_1", "cus_2"]) == []
    names = {f"cus_{number}" for number in range(300)}
    tier = RedisTier(lambda: client, NullMeter())
    tier.touch("acct_many.test", sorted(names), "g", 60)
    assert {name for page in redis_names(lambda: client)("acct_many.test") for name in page} == names
