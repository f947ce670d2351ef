"""The faults: what each does to the real servers, and how it is undone."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import redis

from local.chaos.world import CLUSTER, LIMITS, PROXIED

if TYPE_CHECKING:
    from local.chaos.world import Stage

Deed = Callable[["Stage"], None]

SHORT_LIVED: Mapping[str, Any] = {
    name: {"ttl": 2, "stale_window": 300} for name in ("customer", "subscription", "price", "product", "lists")
}
"""A policy under which everything needs Stripe every two seconds, and a stale answer is permitted."""
PATIENT: Mapping[str, str] = {"STRIPE_CACHE_REDIS_TIMEOUT": "2", "STRIPE_CACHE_DYNAMODB_TIMEOUT": "2"}
"""One fault at a time: on a busy machine a tier that misses its deadline would be a second one beside a dead Stripe."""
SKEW = 300.0
_CLIENTS = 32
_BYTES_LEFT = 16 * 1024


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong. `strike` begins it, and again every `every` seconds; `heal` ends it."""

    name: str
    what: str
    strike: Deed
    heal: Deed
    every: float = 0.0
    rate: float = 100.0
    """Reads per second, of all processes together."""
    warm: float = 3.0
    """Seconds of the warm phase: few reads take longer to meet the changes, and to show their usual hit ratio."""
    changes: bool = True
    """Whether objects change meanwhile. Not while Stripe is down: nobody can change them then."""
    way: str = PROXIED
    """How the processes reach Redis."""
    policy: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that differ from the defaults."""


def _nothing(_: Stage) -> None:
    """Leave it: the fault ended by itself."""


def _heal_proxies(stage: Stage) -> None:
    stage.servers.redis_proxy.heal()
    stage.servers.dynamodb_proxy.heal()


def _kill_redis(stage: Stage) -> None:
    stage.servers.valkey.kill()


def _flush(stage: Stage) -> None:
    stage.servers.ask_redis("FLUSHALL")


def _fill(policy: str) -> Deed:
    def strike(stage: Stage) -> None:
        memory = stage.servers.redis_memory()
        # With noeviction nothing more fits; with eviction there is room for a small part of what is wanted.
        most = 1 if policy == "noeviction" else memory["used_memory_overhead"] + _BYTES_LEFT
        stage.servers.ask_redis("CONFIG", "SET", "maxmemory-policy", policy)
        stage.servers.ask_redis("CONFIG", "SET", "maxmemory", most)

    return strike


def _unfill(stage: Stage) -> None:
    stage.servers.ask_redis("CONFIG", "SET", "maxmemory", 64 * 1024 * 1024)
    stage.servers.ask_redis("CONFIG", "SET", "maxmemory-policy", "volatile-lru")


def _hog(stage: Stage) -> None:
    """Take every connection that the server accepts, and break those that the processes have."""
    servers = stage.servers
    if not servers.hogs:
        # The first one stays able to ask: the server accepts nobody else from here on.
        servers.hogs.append(_connection(stage))
    servers.hogs[0].config_set("maxclients", _CLIENTS)
    servers.redis_proxy.reset()
    with contextlib.suppress(redis.RedisError):
        while True:
            servers.hogs.append(_connection(stage))


def _connection(stage: Stage) -> redis.Redis:
    found = redis.Redis.from_url(stage.servers.valkey.url, protocol=2, single_connection_client=True)
    found.ping()
    return found


def _unhog(stage: Stage) -> None:
    stage.servers.hogs[0].config_set("maxclients", 10_000)
    for hog in stage.servers.hogs:
        hog.close()
    stage.servers.hogs.clear()


def _black_hole(stage: Stage) -> None:
    stage.servers.redis_proxy.drop()
    stage.servers.dynamodb_proxy.drop()


def _stripe(*faults: dict[str, Any]) -> Deed:
    return lambda stage: stage.servers.stripe.configure(faults=list(faults))


def _limits(factor: float) -> Deed:
    return lambda stage: stage.servers.stripe.configure(limits={**LIMITS, "factor": factor})


def _mend_stripe(stage: Stage) -> None:
    stage.servers.stripe.configure(faults=[], limits=LIMITS)


def _skew(stage: Stage) -> None:
    for worker, seconds in zip(stage.workers, (SKEW, -SKEW), strict=False):
        stage.skews[worker.pid] = seconds


def _unskew(stage: Stage) -> None:
    stage.skews = dict.fromkeys(stage.skews, 0.0)


def _freeze_processes(stage: Stage) -> None:
    """Stop half of the processes, and break their connections while they cannot notice."""
    for worker in stage.workers[::2]:
        os.killpg(worker.pid, signal.SIGSTOP)
        stage.frozen[worker.pid] = (time.time(), float("inf"))
    stage.servers.redis_proxy.reset()
    stage.servers.dynamodb_proxy.reset()


def _thaw_processes(stage: Stage) -> None:
    for pid, (since, _) in stage.frozen.items():
        os.killpg(pid, signal.SIGCONT)
        stage.frozen[pid] = (since, time.time())


def _kill_master(stage: Stage) -> None:
    cluster = stage.servers.cluster
    # The one that holds the namespace's counter: every process needs it.
    cluster.kill_master(cluster.master_of(f"sc1:{{{stage.namespace}.test|#}}"))


def _of_stripe(name: str, what: str, strike: Deed) -> Fault:
    return Fault(name, what, strike, _mend_stripe, changes=False, policy=SHORT_LIVED, settings=PATIENT)


FAULTS = (
    Fault("redis-kill", "Redis killed, an empty one back", _kill_redis, lambda s: s.servers.restart_valkey()),
    Fault("redis-freeze", "Redis hangs", lambda s: s.servers.valkey.freeze(), lambda s: s.servers.valkey.thaw()),
    Fault("redis-slow-50", "Redis 50 ms away", lambda s: s.servers.redis_proxy.slow(0.05), _heal_proxies),
    Fault("redis-slow-500", "Redis 500 ms away", lambda s: s.servers.redis_proxy.slow(0.5), _heal_proxies),
    Fault("redis-flush", "FLUSHALL every second", _flush, _nothing, every=1.0),
    Fault("redis-full", "Redis full, evicting nothing", _fill("noeviction"), _unfill),
    Fault("redis-evict", "Redis full, evicting any key", _fill("allkeys-random"), _unfill),
    Fault("redis-drop", "packets to and from Redis lost", lambda s: s.servers.redis_proxy.drop(), _heal_proxies),
    Fault("redis-reset", "connections reset 4 times a second", lambda s: s.servers.redis_proxy.reset(), _nothing, 0.25),
    Fault("redis-clients", "maxclients reached", _hog, _unhog, every=0.5),
    Fault(
        "redis-failover",
        "a cluster's master killed",
        _kill_master,
        lambda s: s.servers.cluster.wait_until_whole(),
        way=CLUSTER,
    ),
    Fault(
        "dynamodb-freeze",
        "DynamoDB hangs",
        lambda s: s.servers.dynamodb.freeze(),
        lambda s: s.servers.dynamodb.thaw(),
    ),
    Fault(
        "dynamodb-kill",
        "DynamoDB killed, an empty table back",
        lambda s: s.servers.dynamodb.kill(),
        lambda s: s.servers.restart_dynamodb(),
    ),
    Fault("tiers-dead", "packets to and from both lost", _black_hole, _heal_proxies, rate=20.0, warm=10.0),
    _of_stripe("stripe-5xx", "Stripe answers 500", _stripe({"kind": "error"})),
    _of_stripe("stripe-429", "Stripe allows a hundredth", _limits(0.01)),
    _of_stripe("stripe-hang", "Stripe never answers", _stripe({"kind": "hang"})),
    _of_stripe("stripe-drop", "Stripe hangs up", _stripe({"kind": "drop"})),
    Fault("clock", "two clocks 5 minutes wrong", _skew, _unskew),
    Fault("lambda-freeze", "half of the processes frozen", _freeze_processes, _thaw_processes),
)
