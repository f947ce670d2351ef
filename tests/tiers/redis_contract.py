"""What every Redis has to keep of the contract of a tier, whatever kind of Redis it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from claim_contract import ClaimContract
from tier_contract import WRAPPERS, Bench, ByteTierContract

from stripe_cache.tiers.redis import record_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes import FakeClock, RecordingMeter

    from stripe_cache.tiers.redis import RedisTier


class RedisContract(ClaimContract, ByteTierContract):
    """Needs the fixtures `tier`, and `raw`: a client past everything under test."""

    @pytest.fixture(params=WRAPPERS)
    def bench(
        self,
        *,
        request: pytest.FixtureRequest,
        namespace: str,
        clock: FakeClock,
        meter: RecordingMeter,
        tier: RedisTier,
        raw: Any,
    ) -> Iterator[Bench]:
        made = Bench(
            tier,
            namespace,
            clock,
            meter,
            lose=lambda record: raw.delete(record_key(namespace, record)),
            plant=lambda key, data: raw.hset(record_key(key.namespace, key.record), f"v{key.variant}", data),
        )
        yield made.wrapped(request.param)
        assert immortal(raw, namespace) == []


def immortal(raw: Any, namespace: str) -> list[bytes]:
    """List this test's keys that would never expire."""
    return [key for key in raw.scan_iter(match=f"sc1:*{namespace}|*", count=1000) if raw.pttl(key) <= 0]
