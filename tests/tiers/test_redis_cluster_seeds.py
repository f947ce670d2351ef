"""A process that has just started in front of a cluster whose first named node is dead, or all of them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fakes import eventually

from stripe_cache import InvalidationError, StripeCache, outbox_wiring
from stripe_cache.core.errors import TierError
from stripe_cache.core.ports import NullMeter, Slot
from stripe_cache.core.replay import replay_all
from stripe_cache.tiers.redis import RedisTier, record_key
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_url import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from world import World

    from local.redis_cluster import RedisCluster

TIMEOUT = 0.5


@pytest.fixture(autouse=True)
def _whole(cluster: RedisCluster) -> Iterator[None]:
    yield
    for node in cluster.living():
        node.thaw()
    cluster.wait_until_whole()


def fresh(url: str) -> RedisTier:
    return RedisTier(lambda: connect(parse(url), TIMEOUT), NullMeter())


def test_all_silent_cost_one_deadline_for_each_step_and_the_first_that_answers_is_enough(
    cluster: RedisCluster, namespace: str
) -> None:
    tier = fresh(cluster.url)
    for node in cluster.nodes:
        node.freeze()
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(TierError, match="TimeoutError"):
            tier.read(namespace, [Slot("cus_1")])
        assert time.monotonic() - began < 1.8 * TIMEOUT
    for node in cluster.nodes:
        node.thaw()
    cluster.wait_until_whole()
    assert eventually(lambda: reads(tier, namespace))


def test_threads_that_wait_for_the_same_map_fail_together(cluster: RedisCluster, namespace: str) -> None:
    tier, count = fresh(cluster.url), 8

    def took(_: int) -> float:
        began = time.monotonic()
        with pytest.raises(TierError):
            tier.read(namespace, [Slot("cus_1")])
        return time.monotonic() - began

    for node in cluster.nodes:
        node.freeze()
    with ThreadPoolExecutor(count) as threads:
        waited = list(threads.map(took, range(count)))
    assert max(waited) < 3 * TIMEOUT, "not one deadline after the other"


def reads(tier: RedisTier, namespace: str) -> bool:
    try:
        return bool(tier.read(namespace, [Slot("cus_1")]))
    except TierError:
        return False


def test_with_the_first_seed_dead_a_new_process_reads_invalidates_and_replays(
    cluster: RedisCluster, world: World
) -> None:
    (customer,) = world.seed(customers=1)["customers"]
    path, key = f"/v1/customers/{customer}", world.key()

    def process(url: str = cluster.url) -> StripeCache:
        return world.cache("redis", "dynamodb", redis_url=url, redis_timeout=TIMEOUT)

    def name(cache: StripeCache) -> str:
        return str(cache.get(path, api_key=key).data["name"])

    warm = process()
    old = name(warm)
    dead = next(node for node in cluster.nodes if node.is_master)
    cluster.nodes.remove(dead)
    cluster.nodes.insert(0, dead)
    assert cluster.url.split("//")[1].startswith(f"{cluster.host}:{dead.port},")
    cluster.kill_master(dead)
    cluster.wait_until_whole()

    world.change(path, name="Changed")
    with pytest.raises(InvalidationError) as caught:
        process(cluster.url_of("", dead)).invalidate(customer)
    assert caught.value.queued, "who knows the dead node alone can only leave it to somebody else"

    another = process()
    replayer = outbox_wiring.replayer(another.settings, another.engine)

    def is_told() -> bool:
        (report,) = replay_all(replayer, [world.namespace]).values()
        return not report.left and not report.failure

    assert eventually(is_told)
    assert eventually(lambda: name(warm) == "Changed" != old)
    third = process()
    assert eventually(lambda: third.get(path, api_key=key).status.tier == "redis"), "what others stored"
    place = record_key(world.namespace, customer)
    generation = cluster.master_of(place).ask("HGET", place, "g")
    assert eventually(lambda: invalidates(process(), customer))
    assert cluster.master_of(place).ask("HGET", place, "g") != generation


def invalidates(cache: StripeCache, record: str) -> bool:
    for _ in range(2):
        try:
            return "redis" in cache.invalidate(record)
        except InvalidationError:
            continue  # The dead seed's turn.
    return False
