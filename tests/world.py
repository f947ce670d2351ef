"""A Stripe account of one test's own at the session's fake Stripe, and caches in front of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import stripe

from stripe_cache import Settings, StripeCache
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from local.dynamodb import DynamoDB
    from local.fake_stripe.client import FakeStripe
    from local.valkey import Valkey
    from stripe_cache.core.clock import Clock
    from stripe_cache.core.ports import Meter, Tier

# Machines that run tests are slow at times. A tier that is too slow is a subject of its own tests, never of the others;
# nor is a call that a test keeps back until everybody waits for it, which took longer than the 10 s of production once.
PATIENT = {"redis_timeout": 20.0, "dynamodb_timeout": 20.0, "origin_timeout": 60.0}


@dataclass
class World:
    """An empty account, a namespace nobody else uses, and the servers."""

    fake: FakeStripe
    valkey: Valkey
    dynamodb: DynamoDB
    table: str
    account: str = field(default_factory=lambda: f"acct_{uuid.uuid4().hex[:12]}")
    opened: list[stripe.HTTPClient] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        """The namespace of plain test-mode requests."""
        return f"{self.account}.test"

    def key(self, name: str = "a", *, kind: str = "sk", mode: str = "test", account: str = "") -> str:
        """Return an API key of this account (or another), known to the fake."""
        made = f"{kind}_{mode}_{name}{self.account.removeprefix('acct_')}"
        self.fake.configure(accounts={made: account or self.account})
        return made

    def seed(self, customers: int = 2, products: int = 2, **options: Any) -> dict[str, list[str]]:
        """Fill the account and return the ids."""
        return self.fake.seed(customers, products, **{"account": self.account, **options})

    def change(self, path: str, method: str = "POST", /, **form: Any) -> dict[str, Any]:
        """Change something at the fake behind the caches' backs."""
        return self.fake.mutate(path, method, **{"account_": self.account, **form})

    def settings(self, *tiers: str, **options: Any) -> Settings:
        """Make settings for some of memory, redis and dynamodb; all three by default."""
        chosen = tiers or ("memory", "redis", "dynamodb")
        where: dict[str, Any] = {
            "redis_url": self.valkey.url if "redis" in chosen else "",
            "table": self.table if "dynamodb" in chosen else "",
        }
        if "memory" not in chosen:
            where["memory_max_bytes"] = 0
        # The fake's own limits are off, and no test but those of the limits is about ours.
        limits = {"rate_limits": None}
        defaults = {"namespace": self.account, "api_base": self.fake.url, "events": True, **PATIENT, **limits, **where}
        return Settings(**{**defaults, **options})

    def cache(
        self,
        *tiers: str,
        clock: Clock | None = None,
        meter: Meter | None = None,
        shared: tuple[Tier, ...] | None = None,
        **options: Any,
    ) -> StripeCache:
        """Make a cache as a process of its own would: nothing in its memory, the same shared tiers."""
        settings = self.settings(*tiers, **options)
        return StripeCache(settings, engine=build(settings, clock=clock, meter=meter, shared=shared))

    def client(self, cache: StripeCache, key: str = "", **options: Any) -> stripe.StripeClient:
        """Make a cached client that sends through `requests` and is closed after the test."""
        inner = stripe.RequestsClient()
        self.opened.append(inner)
        return cache.client(key or self.key(), http_client=inner, **options)

    def plain(self, key: str = "", **options: Any) -> stripe.StripeClient:
        """Make an uncached client for comparison."""
        inner = stripe.RequestsClient()
        self.opened.append(inner)
        bases = {"api": self.fake.url, **options.pop("base_addresses", {})}
        return stripe.StripeClient(key or self.key(), http_client=inner, base_addresses=bases, **options)

    def origin_reads(self) -> int:
        """Return how many GETs the fake has answered since it was last reset."""
        reads: int = self.fake.counters()["reads"]
        return reads


def status_of(answer: Any) -> str:
    """Return the Cache-Status of an SDK object."""
    status: str = answer.last_response.headers["cache-status"]
    return status
