"""The embedded cluster itself: it forms, fails over, survives a death, and leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from local.ports import accepts
from local.redis_cluster import RedisCluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as made:
        yield made
        directories = [node.process.directory for node in made.nodes]
    assert not any(accepts(node.port) for node in made.nodes)
    assert not any(directory.exists() or directory.parent.exists() for directory in directories)


def test_three_masters_share_the_slots_and_each_has_a_replica(cluster: RedisCluster) -> None:
    assert len(cluster.masters()) == 3
    assert {cluster.replica_of(master).port for master in cluster.masters()} == {
        replica.port for replica in cluster.replicas()
    }
    assert len({cluster.master_of(f"key-{number}").port for number in range(30)}) == 3


def test_a_replica_takes_over_on_demand_and_when_its_master_dies(cluster: RedisCluster) -> None:
    with redis.RedisCluster.from_url(f"redis://127.0.0.1:{cluster.nodes[0].port}") as client:
        client.set("kept", "1")
    old = cluster.master_of("kept")
    new = cluster.fail_over(old)
    assert cluster.master_of("kept") is new
    assert new.ask("GET", "kept") == b"1"
    assert cluster.kill_master(new) is new
    cluster.wait_until_whole()
    assert cluster.master_of("kept") is old
    assert old.ask("GET", "kept") == b"1"
