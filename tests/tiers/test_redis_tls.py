"""TLS with verification: who cannot prove to be the server named in the URL gets no command, and nobody waits long."""

from __future__ import annotations

import logging
import socket
import time
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import redis
from fakes import FakeClock, RecordingMeter

from local.redis_tls import Authority, TlsRedis
from stripe_cache.core import metrics
from stripe_cache.core.errors import ConfigurationError, TierError
from stripe_cache.core.ports import NullMeter, Reading, Slot
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_url import parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.valkey import Valkey

TIMEOUT = 0.5


def tier_of(url: str, timeout: float = TIMEOUT) -> RedisTier:
    return RedisTier(lambda: connect(parse(url), timeout), NullMeter())


@pytest.fixture
def stranger(tls_binary: Path) -> Iterator[Authority]:
    """Make another authority, which has signed nothing that is used here."""
    del tls_binary
    with Authority() as made:
        yield made


def test_a_server_that_proves_its_name_is_used(tls_redis: TlsRedis, namespace: str) -> None:
    states, _ = tier_of(tls_redis.url).touch(namespace, ["cus_1"], "t1", 60)
    assert [state.generation for state in states] == ["t1"]
    assert connect(parse(tls_redis.url), TIMEOUT).execute_command("PING")


@pytest.mark.parametrize("cluster", ["", "+cluster"])
def test_an_unknown_authority_is_refused_with_the_remedy(
    tls_redis: TlsRedis, stranger: Authority, cluster: str
) -> None:
    url = f"rediss{cluster}://127.0.0.1:{tls_redis.port}?ca_certs={quote(str(stranger.certificate))}"
    before = commands(tls_redis)
    with pytest.raises(ConfigurationError, match=r"certificate is not trusted.* name its ca_certs"):
        tier_of(url).read("n", [Slot("cus_1")])
    with pytest.raises(ConfigurationError, match="certificate is not trusted"):
        tier_of(url.partition("?")[0]).read("n", [Slot("cus_1")])
    with pytest.raises(redis.RedisError):
        connect(parse(url), TIMEOUT).execute_command("HMGET", "sc1:x", "g")
    assert commands(tls_redis) == before


@pytest.mark.parametrize("cluster", ["", "+cluster"])
def test_another_hosts_certificate_is_refused(authority: Authority, tls_redis: TlsRedis, cluster: str) -> None:
    # The same server under a name that its certificate does not carry.
    url = f"rediss{cluster}://localhost:{tls_redis.port}?ca_certs={quote(str(authority.certificate))}"
    with pytest.raises(ConfigurationError, match="certificate is not trusted; correct the host"):
        tier_of(url).read("n", [Slot("cus_1")])


def test_a_refused_certificate_is_a_miss_that_is_counted_and_logged_once(
    tls_redis: TlsRedis, stranger: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"rediss://127.0.0.1:{tls_redis.port}?ca_certs={quote(str(stranger.certificate))}"
    clock, meter = FakeClock(), RecordingMeter()
    guard = GuardedTier(tier_of(url), 60.0, clock, meter)
    with caplog.at_level(logging.ERROR, "stripe_cache"):
        for _ in range(3):
            assert guard.read("n", [Slot("cus_1")]) == [Reading(None, None)]
            clock.advance(60)
    assert meter.total(metrics.TIER_ERROR) == 3
    assert len(caplog.records) == 1
    assert "certificate is not trusted" in caplog.records[0].message


def test_a_server_without_tls_is_an_error_and_no_hang(valkey: Valkey) -> None:
    began = time.monotonic()
    with pytest.raises(TierError, match="redis"):
        tier_of(valkey.url.replace("redis://", "rediss://")).read("n", [Slot("cus_1")])
    assert time.monotonic() - began < 2 * TIMEOUT


def test_a_server_that_wants_tls_is_an_error_and_no_hang(tls_redis: TlsRedis) -> None:
    began = time.monotonic()
    with pytest.raises(TierError, match="redis"):
        tier_of(f"redis://127.0.0.1:{tls_redis.port}").read("n", [Slot("cus_1")])
    assert time.monotonic() - began < 2 * TIMEOUT


def test_a_handshake_that_trickles_ends_at_the_deadline(authority: Authority) -> None:
    """Each byte alone comes in time; the handshake as a whole does not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            peer, _ = listener.accept()
            with peer:
                try:
                    # The head of a handshake record of 16 KB, a byte at a time.
                    for byte in b"\x16\x03\x03\x40\x00" + bytes(200):
                        peer.sendall(bytes([byte]))
                        time.sleep(0.05)  # this is the trickle
                except OSError:
                    return

        thread = Thread(target=trickle)
        thread.start()
        url = f"rediss://127.0.0.1:{listener.getsockname()[1]}?ca_certs={quote(str(authority.certificate))}"
        began = time.monotonic()
        with pytest.raises(TierError):
            tier_of(url, 0.2).read("n", [Slot("cus_1")])
        took = time.monotonic() - began
        thread.join()
    assert took < 1.0


def commands(server: TlsRedis) -> int:
    """Return how many commands the server has executed, this one and its like aside."""
    with server.client() as client:
        stats = client.info("commandstats")
    return sum(row["calls"] for name, row in stats.items() if name in {"cmdstat_hmget", "cmdstat_cluster|slots"})
