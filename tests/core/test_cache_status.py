from __future__ import annotations

import pytest
from fakes import stored_of

from stripe_cache import CacheStatus
from stripe_cache.core.entry import Freshness


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (CacheStatus(hit=True, ttl=86012, detail="redis"), "stripe-cache; hit; ttl=86012; detail=redis"),
        (CacheStatus(fwd="uri-miss", stored=True), "stripe-cache; fwd=uri-miss; stored"),
        (CacheStatus(fwd="uri-miss", collapsed=True), "stripe-cache; fwd=uri-miss; collapsed"),
        (CacheStatus(fwd="bypass"), "stripe-cache; fwd=bypass"),
        (
            CacheStatus(hit=True, ttl=-12, detail="redis; stale-if-error"),
            'stripe-cache; hit; ttl=-12; detail="redis; stale-if-error"',
        ),
    ],
)
def test_the_header_has_the_form_of_the_standard(status: CacheStatus, text: str) -> None:
    assert str(status) == text


def test_the_tier_and_staleness_of_a_hit_can_be_asked() -> None:
    stale = CacheStatus(hit=True, ttl=-12, detail="redis; stale-if-error")
    assert (stale.tier, stale.stale) == ("redis", True)
    fresh = CacheStatus(hit=True, ttl=0, detail="memory")
    assert (fresh.tier, fresh.stale) == ("memory", False)
    miss = CacheStatus(fwd="bypass", detail="leader-lost")
    assert (miss.tier, miss.stale) == ("", False)


def test_an_entry_is_fresh_then_stale_then_dead_and_says_how_long() -> None:
    entry = stored_of(now=1000.0, fresh=100, stale=50).entry
    assert [entry.freshness(now) for now in (1000, 1099.9, 1100, 1149.9, 1150)] == [
        Freshness.FRESH,
        Freshness.FRESH,
        Freshness.STALE,
        Freshness.STALE,
        Freshness.DEAD,
    ]
    assert [entry.ttl(now) for now in (1000, 1099.5, 1100, 1100.5, 1112)] == [100, 0, 0, -1, -12]
    assert entry.age(1040) == 40
    assert entry.age(900) == 0, "another machine's clock may be ahead"
