"""The composition root: from Settings to an Engine. Nothing connects here; clients are made on first use."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import TYPE_CHECKING

from stripe_cache import origin_wiring, outbox_wiring
from stripe_cache.clients_wiring import Clients, connect_dynamodb, connect_redis
from stripe_cache.core.audit import Auditor
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.deadline import Deadline
from stripe_cache.core.debts import Debts
from stripe_cache.core.descent import Tiers
from stripe_cache.core.engine import Engine
from stripe_cache.core.errors import SettingError
from stripe_cache.core.freshness import EarlyRenewal
from stripe_cache.core.invalidator import Invalidator
from stripe_cache.core.latencies import Latencies
from stripe_cache.core.lookup import Lookup
from stripe_cache.core.near import Near
from stripe_cache.core.plan import Identity, Planner
from stripe_cache.core.policy import Policy
from stripe_cache.core.ports import NullMeter
from stripe_cache.core.purge import Purge
from stripe_cache.core.read_through import ReadThrough
from stripe_cache.core.sealing import UNSEALED
from stripe_cache.settings import STRIPE_API
from stripe_cache.tiers import redis_url
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.tiers.memory_purge import MemorySearch
from stripe_cache.tiers.read_only import ReadOnlyTier

if TYPE_CHECKING:
    from stripe_cache.core.clock import Clock
    from stripe_cache.core.cursor import CursorStore
    from stripe_cache.core.ports import Meter, Tier
    from stripe_cache.core.purge import Searchable
    from stripe_cache.core.sealing import Sealer
    from stripe_cache.settings import Settings

_CURSOR_TIMEOUT = 3.0
"""Seconds: nobody waits for a sweep, and without its cursor it cannot begin."""
_PAGE_SECONDS = 5.0
"""Deadline of one call while the stores are searched: nobody waits for an answer of Stripe's meanwhile."""
_STEPS = 3
"""Round trips that one step of a tier may consist of (cluster pipelines, batches of DynamoDB writes)."""


def build(
    settings: Settings,
    *,
    clock: Clock | None = None,
    meter: Meter | None = None,
    shared: tuple[Tier, ...] | None = None,
) -> Engine:
    """Put an engine together; `shared` replaces the tiers that the settings name.

    Raises SettingError and PolicyError; nothing is reachable or not yet.
    """
    clock = clock or SystemClock()
    meter = meter or NullMeter()
    policy = Policy.default().with_overrides(settings.policy)
    deadline = Deadline(clock, settings.origin_wait, settings.origin_timeout)
    clients = Clients(settings, deadline, stores=shared is None)
    tiers = Tiers(
        memory=MemoryTier(settings.memory_max_bytes, clock) if settings.memory_max_bytes else None,
        shared=shared_tiers(settings, clock, meter, clients, deadline) if shared is None else shared,
    )
    stores = origin_wiring.Stores(settings, clock, clients.redis, partial(_is_away, tiers.shared), clients.dynamodb)
    identity = Identity(
        account=settings.namespace,
        livemode=settings.livemode,
        fingerprint_secret=settings.fingerprint_secret or settings.namespace,
        api_bases=frozenset({STRIPE_API, settings.api_base}),
        shared_scope=settings.shared_scope,
    )
    near, debts = Near(settings.memory_max_lag, clock), Debts()
    latencies = Latencies()
    refresher = origin_wiring.refresher(settings, stores, clock, meter, clients.refresh_queue)
    heat = outbox_wiring.heat(settings, clients.redis, refresher, clock, meter)
    gate = origin_wiring.gate(settings, stores, latencies, clock, meter, deadline=deadline)
    lookup = Lookup(
        tiers,
        near,
        debts,
        clock,
        meter,
        early=EarlyRenewal(latencies),
        refresher=refresher,
        heat=heat,
        rests=gate.is_resting,
    )
    reads = ReadThrough(
        lookup,
        gate.deadline,
        clock,
        meter,
        max_body_bytes=settings.max_body_bytes,
        shared=bool(tiers.shared),
        negative_ttl=settings.negative_ttl,
    )
    outboxes = outbox_wiring.outboxes(settings, clock, meter, queue=clients.outbox_queue, dynamodb=clients.dynamodb)
    invalidator = Invalidator(tiers, debts, meter, outboxes)
    auditor = Auditor(reads, invalidator, clock, meter, settings.audit_rate) if settings.audit_rate else None
    planner = Planner(identity, policy, events=settings.events)
    seen = outbox_wiring.seen(clock, settings.table, clients.redis, clients.dynamodb)
    return Engine(
        planner,
        reads,
        invalidator,
        near,
        clock,
        meter,
        gate,
        auditor,
        read_only=settings.read_only,
        seen=seen,
        heat=heat,
        warm=clients.warm,
    )


def shared_tiers(
    settings: Settings,
    clock: Clock,
    meter: Meter,
    clients: Clients | None = None,
    deadline: Deadline | None = None,
) -> tuple[Tier, ...]:
    """Make the shared tiers that the settings name, each behind its guard, nearest first."""
    clients = clients or Clients(settings)
    tiers: list[Tier] = []
    has_stores = bool(settings.redis_url or settings.table)
    sealer = make_sealer(settings, clock, meter, clients, deadline) if has_stores else UNSEALED
    if clients.redis is not None:
        from stripe_cache.tiers.redis import RedisTier

        redis_tier = RedisTier(clients.redis, meter, sealer)
        tiers.append(GuardedTier(redis_tier, settings.redis_timeout * _STEPS, clock, meter, sealer))
    if clients.dynamodb is not None:
        from stripe_cache.tiers.dynamodb import DynamoDBTier

        table = DynamoDBTier(clients.dynamodb, settings.table, clock, meter, sealer)
        # Connecting is bounded by the settings alone, whatever time is left: botocore takes no other bound for it.
        has_time = partial(deadline.leaves, settings.dynamodb_timeout) if deadline else None
        guard = GuardedTier(table, settings.dynamodb_timeout * _STEPS, clock, meter, sealer, has_time=has_time)
        tiers.append(guard)
    return tuple(ReadOnlyTier(tier) for tier in tiers) if settings.read_only else tuple(tiers)


def _is_away(tiers: tuple[Tier, ...]) -> bool:
    guards = (tier.inner if isinstance(tier, ReadOnlyTier) else tier for tier in tiers)
    return any(isinstance(guard, GuardedTier) and guard.name == "redis" and guard.is_resting for guard in guards)


def cursor_store(settings: Settings) -> CursorStore:
    """Say where the cursor of the sweep is kept: in the table, or without one in Redis; raises SettingError."""
    if settings.table:
        from stripe_cache.tiers.cursor_dynamodb import DynamoDBCursors

        return DynamoDBCursors(partial(connect_dynamodb, _CURSOR_TIMEOUT), settings.table)
    if settings.redis_url:
        from stripe_cache.tiers.cursor_redis import RedisCursors

        return RedisCursors(partial(connect_redis, redis_url.parse(settings.redis_url), _CURSOR_TIMEOUT))
    raise SettingError(
        "neither STRIPE_CACHE_TABLE nor STRIPE_CACHE_REDIS_URL is set: a cache of memory alone cannot be reconciled "
        "from another process, and a cursor needs a place to stay"
    )


def make_purge(settings: Settings, engine: Engine) -> Purge:
    """Make what searches the tiers that the settings name, with connections of its own."""
    tiers: list[Searchable] = []
    sealer = make_sealer(settings, engine.clock, engine.meter, sparing=False)
    if settings.table:
        from stripe_cache.tiers.dynamodb_purge import DynamoDBSearch

        tiers.append(DynamoDBSearch(partial(connect_dynamodb, _PAGE_SECONDS), settings.table, engine.clock, sealer))
    if settings.redis_url:
        from stripe_cache.tiers.redis_purge import RedisSearch

        client = partial(connect_redis, redis_url.parse(settings.redis_url), _PAGE_SECONDS)
        tiers.append(RedisSearch(client, engine.clock, sealer))
    if isinstance(engine.invalidator.memory, MemoryTier):
        tiers.append(MemorySearch(engine.invalidator.memory))
    # Last: what the steps before could not tell a tier is in here.
    if (outbox := outbox_wiring.outbox_search(settings, engine)) is not None:
        tiers.append(outbox)
    return Purge(engine.invalidator, tiers)


def make_sealer(
    settings: Settings,
    clock: Clock,
    meter: Meter,
    clients: Clients | None = None,
    deadline: Deadline | None = None,
    *,
    sparing: bool = True,
) -> Sealer:
    """Make what encrypts entries, or what does not; raises SettingError when the package for it is missing."""
    connect = (clients or Clients(settings)).kms
    if connect is None:
        return UNSEALED
    if importlib.util.find_spec("cryptography") is None:
        raise SettingError(
            "STRIPE_CACHE_KMS_KEY is set, and the package `cryptography` is missing: install stripe-cache[encryption]"
        )
    from stripe_cache.tiers.data_keys import DataKeys
    from stripe_cache.tiers.sealing import EnvelopeSealer

    # Connecting and answering, each: botocore takes no other bound.
    has_time = partial(deadline.leaves, 2 * settings.dynamodb_timeout) if deadline else _always
    names = settings.kms_key.split(",")
    return EnvelopeSealer(DataKeys(names, connect, clock, meter, sparing=sparing, has_time=has_time))


def _always() -> bool:
    return True
