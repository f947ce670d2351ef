"""A name with several addresses, of which the first is silent: it costs one step, and not every step there is."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
import redis

from local.valkey import Valkey
from stripe_cache.tiers.redis_cluster_wire import ClusterWire
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_url import parse
from stripe_cache.tiers.redis_wire import IdleConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.redis_cluster import Node, RedisCluster
    from local.redis_tls import TlsRedis

TIMEOUT = 0.3
# The name is what the certificates of the tests prove.
NAME, SILENT = "127.0.0.1", "127.0.0.2"


@pytest.fixture(params=["hangs", "drops"])
def silence(request: pytest.FixtureRequest) -> Iterator[Callable[[int], None]]:
    """Make an address on which connecting works and nothing is said, or on which not even that is answered."""
    made: list[socket.socket] = []

    def silent(port: int) -> None:
        listener = socket.create_server((SILENT, port), backlog=0 if request.param == "drops" else 128)
        made.append(listener)
        for _ in range(3 if request.param == "drops" else 0):
            # The kernel drops what comes when the queue of those not yet accepted is full.
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((SILENT, port))
            made.append(filler)

    yield silent
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def _resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the name lead to both: nothing but a name server of the machine's could be brought to say so."""
    real = socket.getaddrinfo

    def found(host: str, port: int, *rest: int) -> list[object]:
        hosts = [SILENT, NAME] if host == NAME else [host]
        return [answer for one in hosts for answer in real(one, port, *rest)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def failures_of(url: str, *, tries: int = 6) -> int:
    """Return how many of so many steps fail, with a new connection to the name for every other one."""
    wire = connect(parse(url), TIMEOUT)
    failed = 0
    for _ in range(tries):
        began = time.monotonic()
        try:
            if isinstance(wire, ClusterWire):
                assert wire.masters()
                return failed
            wire.execute_command("PING")
            # Its own connection, which the next step finds closed and the one after that replaces.
            wire.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
        except redis.TimeoutError:
            failed += 1
        except IdleConnectionError:
            pass
        assert time.monotonic() - began < 2 * TIMEOUT + 0.2, "connecting, and the reply"
    return failed


def test_a_silent_address_costs_one_step(server: Valkey, silence: Callable[[int], None]) -> None:
    silence(server.port)
    assert failures_of(f"redis://{NAME}:{server.port}") <= 1


def test_a_handshake_that_is_not_answered_does_too_and_the_name_is_proven_all_the_same(
    tls_redis: TlsRedis, silence: Callable[[int], None]
) -> None:
    silence(tls_redis.port)
    assert f"//{NAME}:" in tls_redis.url
    assert failures_of(tls_redis.url) <= 1


def test_one_name_for_all_nodes_leads_to_the_cluster_although_its_first_address_is_silent(
    cluster: RedisCluster, silence: Callable[[int], None]
) -> None:
    node: Node = cluster.nodes[0]
    silence(node.port)
    assert failures_of(f"redis+cluster://{NAME}:{node.port}") <= 1


def test_an_address_that_failed_is_used_again_once_the_other_one_fails(server: Valkey) -> None:
    wire = connect(parse(f"redis://{NAME}:{server.port}"), TIMEOUT)
    # Refused at the first address, answered at the second one, in one step.
    assert wire.execute_command("PING")
    port = server.port
    server.stop()
    with pytest.raises(redis.ConnectionError):
        wire.execute_command("PING")
    with Valkey(port=port) as back:
        assert back.port == port
        assert wire.execute_command("PING")
