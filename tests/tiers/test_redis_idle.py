"""Connections after a freeze: closed or gone without a word, they are replaced without an error or a failure."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from fakes import FakeClock, RecordingMeter

from local.valkey import Valkey
from stripe_cache.core import metrics
from stripe_cache.core.errors import TierError
from stripe_cache.core.ports import NO_HOLD, NullMeter, Reading, Slot
from stripe_cache.tiers import redis_bounded
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_url import parse

if TYPE_CHECKING:
    import redis

    from local.redis_cluster import RedisCluster

N = "acct_1.test"
SLOTS = [Slot(f"cus_{number}") for number in range(12)]
ONE = [Slot("cus_1")]
RECORDS = [slot.record for slot in SLOTS]


class Sleep:
    """Makes time pass for the connections alone, by either clock, as it does for a process that was frozen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._passed = (0.0, 0.0)
        monkeypatch.setattr(redis_bounded, "_now", self._now)

    def _now(self) -> tuple[float, float]:
        return time.monotonic() + self._passed[0], time.time() + self._passed[1]

    def __call__(self, monotonic: float, wall: float) -> None:
        self._passed = (self._passed[0] + monotonic, self._passed[1] + wall)


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Sleep:
    return Sleep(monkeypatch)


class SilentProxy:
    """Passes bytes on until it is told to forget its connections: then it keeps them open and passes nothing."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._forgotten: set[int] = set()
        self._known: list[socket.socket] = []
        self.connections = 0
        Thread(target=self._accept, daemon=True).start()

    def forget(self) -> None:
        """Drop what arrives on the connections of now, without a word to anybody."""
        self._forgotten |= set(range(self.connections))

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._known:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._known += [near, far]
                number, self.connections = self.connections, self.connections + 1
                for source, sink in ((near, far), (far, near)):
                    Thread(target=self._pass, args=(number, source, sink), daemon=True).start()

    def _pass(self, number: int, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if number not in self._forgotten:
                    sink.sendall(data)


def guard_of(url: str, timeout: float = 5.0) -> tuple[GuardedTier, RecordingMeter]:
    meter = RecordingMeter()
    tier = RedisTier(lambda: connect(parse(url), timeout), NullMeter())
    return GuardedTier(tier, 60.0, FakeClock(), meter), meter


def connections(admin: redis.Redis) -> int:
    return int(admin.info("stats")["total_connections_received"])


@pytest.mark.parametrize("slept", [(0.0, 0.0), (2.0, 2.0), (0.0, 3600.0), (3600.0, 0.0)])
def test_connections_closed_by_the_server_are_replaced_without_an_error(
    admin: redis.Redis, server: Valkey, sleep: Sleep, slept: tuple[float, float]
) -> None:
    guard, meter = guard_of(server.url)
    guard.touch(N, RECORDS, "t1", 60)
    for _ in range(3):
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        sleep(*slept)
        assert [reading.generation for reading in guard.read(N, SLOTS)] == ["t1"] * len(SLOTS)
    admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    # Sent twice, it names none that has the word for certain.
    assert guard.void(N, RECORDS, "t2", NO_HOLD) in ([], RECORDS)
    assert "t1" not in {reading.generation for reading in guard.read(N, SLOTS)}
    assert meter.total(metrics.TIER_ERROR) == 0


def test_a_restarted_server_is_met_without_an_error(server: Valkey) -> None:
    guard, meter = guard_of(server.url)
    guard.touch(N, ["cus_1"], "t1", 60)
    server.stop()
    with Valkey(port=server.port):
        assert guard.read(N, ONE) == [Reading(None, None)]
        assert guard.touch(N, ["cus_1"], "t2", 60)[0][0].generation == "t2"
    assert meter.total(metrics.TIER_ERROR) == 0


@pytest.mark.parametrize("slept", [(0.0, 301.0), (301.0, 0.0), (3600.0, 3600.0)])
def test_a_peer_that_is_gone_without_a_word_is_not_waited_for_after_a_long_silence(
    server: Valkey, sleep: Sleep, slept: tuple[float, float]
) -> None:
    proxy = SilentProxy(server.port)
    try:
        guard, meter = guard_of(proxy.url, timeout=30.0)
        guard.touch(N, ["cus_1"], "t1", 60)
        proxy.forget()
        sleep(*slept)
        began = time.monotonic()
        assert guard.read(N, ONE)[0].generation == "t1"
        assert time.monotonic() - began < 15.0, "the deadline would be 30 s"
        assert proxy.connections == 2
        assert meter.total(metrics.TIER_ERROR) == 0
    finally:
        proxy.close()


def test_a_peer_that_is_gone_after_a_short_silence_costs_one_deadline_once(server: Valkey, sleep: Sleep) -> None:
    proxy = SilentProxy(server.port)
    try:
        guard, meter = guard_of(proxy.url, timeout=0.5)
        guard.touch(N, ["cus_1"], "t1", 60)
        proxy.forget()
        sleep(30.0, 30.0)
        began = time.monotonic()
        assert guard.read(N, ONE) == [Reading(None, None)]
        assert 0.4 < time.monotonic() - began < 3.0
        assert guard.read(N, ONE)[0].generation == "t1"
        assert meter.total(metrics.TIER_ERROR) == 1
    finally:
        proxy.close()


def test_a_connection_in_use_is_kept(admin: redis.Redis, server: Valkey, sleep: Sleep) -> None:
    guard, _ = guard_of(server.url)
    guard.touch(N, ["cus_1"], "t1", 60)
    before = connections(admin)
    for _ in range(10):
        sleep(250.0, 250.0)
        guard.read(N, ONE)
    assert connections(admin) == before


def test_a_cluster_thawed_on_all_its_connections_answers_without_an_error(
    cluster: RedisCluster, namespace: str, sleep: Sleep
) -> None:
    guard, meter = guard_of(cluster.url)
    guard.touch(namespace, RECORDS, "t1", 60)
    for seconds in (0.0, 2.0, 3600.0):
        for node in cluster.nodes:
            node.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        sleep(seconds, seconds)
        assert [reading.generation for reading in guard.read(namespace, SLOTS)] == ["t1"] * len(SLOTS)
    for node in cluster.nodes:
        node.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert guard.void(namespace, RECORDS, "t2", NO_HOLD) in ([], RECORDS)
    assert "t1" not in {reading.generation for reading in guard.read(namespace, SLOTS)}
    assert meter.total(metrics.TIER_ERROR) == 0


def test_a_pool_shared_with_others_is_never_exhausted_by_idle_connections(server: Valkey) -> None:
    wire: Any = connect(parse(server.url), 5.0)
    tier = RedisTier(lambda: wire, NullMeter())
    threads = [Thread(target=tier.read, args=(N, SLOTS)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wire.execute_command("PING") == b"PONG"


def test_nobody_is_waited_for_twice(server: Valkey) -> None:
    guard, _ = guard_of(server.url, timeout=0.3)
    guard.touch(N, ["cus_1"], "t1", 60)
    server.freeze()
    began = time.monotonic()
    with pytest.raises(TierError):
        guard.void(N, ["cus_1"], "t2", NO_HOLD)
    took = time.monotonic() - began
    server.thaw()
    assert took < 0.6
