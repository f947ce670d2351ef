"""Everything the demo runs on, started together and ended together."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from local.demo.front import WebhookFront
from local.demo.traffic import INVOCATION_SECONDS, Half, entitlements_event
from local.dynamodb import DynamoDB
from local.fake_stripe.client import FakeStripe
from local.valkey import Valkey
from local.workers import WorkerPool

if TYPE_CHECKING:
    from local.demo.options import Options

ENTITLEMENTS = "stripe_cache.handlers.entitlements:handler"
WEBHOOK = "stripe_cache.handlers.webhook:handler"
CUSTOMERS, PRODUCTS = 80, 12
SEED = 20261120
WEBHOOK_WORKERS = 2
WARM_WITH, WARM_WITHOUT = 12, 20
"""Sandboxes that exist before the traffic: about what each half needs at full traffic. More start on demand."""
# Made up, and recognised as such: the fake takes any key of this shape.
FAKE_KEY = "sk_test_demo"
# What Stripe allows a live account; a sandbox gets 25 in all.
LIMITS = {"factor": 1.0, "test": 100.0, "endpoint": 25.0}
LATENCY = {"factor": 1.0, "low": 100.0, "high": 500.0}
DELIVERY = {"delay_ms": [20.0, 300.0], "duplicate": 0.1, "reorder": 0.1, "reorder_ms": 800.0}
WITH, WITHOUT = "with cache", "without"


DYNAMODB_WARM_UP_CALLS = 150
"""A fresh JVM interprets its code: its first calls are slower than any deadline that makes sense for a table."""


class Stores:
    """Valkey and a DynamoDB table, and what a function's environment needs to find them."""

    def __init__(self, valkey: Valkey, dynamodb: DynamoDB) -> None:
        self.valkey = valkey
        self.dynamodb = dynamodb
        self.environment = {
            **dynamodb.environment(),
            "STRIPE_CACHE_REDIS_URL": valkey.url,
            "STRIPE_CACHE_TABLE": dynamodb.create_table(),
        }
        client = dynamodb.client()
        for number in range(DYNAMODB_WARM_UP_CALLS):
            key = {"pk": {"S": f"warm-up-{number}"}}
            client.update_item(
                TableName=self.environment["STRIPE_CACHE_TABLE"],
                Key=key,
                UpdateExpression="SET exp = :zero",
                ExpressionAttributeValues={":zero": {"N": "0"}},
            )
            client.get_item(TableName=self.environment["STRIPE_CACHE_TABLE"], Key=key, ConsistentRead=True)
        client.close()


def function_environment(api_base: str, api_key: str, *, events: bool) -> dict[str, str]:
    """Return what both halves' functions have in common."""
    return {
        "STRIPE_CACHE_NAMESPACE": "acct_demo",
        "STRIPE_CACHE_STAGE": "demo",
        "STRIPE_CACHE_API_BASE": api_base,
        "STRIPE_CACHE_API_KEY_SECRET": api_key,
        "STRIPE_CACHE_EVENTS": "on" if events else "off",
    }


# The cache turned off by the environment: no shared tier, a memory tier that holds nothing, no limits kept.
CACHE_OFF = {"STRIPE_CACHE_MEMORY_MAX_BYTES": "0", "STRIPE_CACHE_RATE_LIMITS": "off"}


class World:
    """Two halves, each with its sandboxes; and in front of the fake, each with its own Stripe of the same content.

    Without a key of the user's, `fakes` are those of the half with and of the half without the cache, and `front`
    takes the webhooks. With one there are none: both halves ask the real sandbox.
    """

    def __init__(self, options: Options) -> None:
        self.fakes: tuple[FakeStripe, ...] = ()
        self.ids: dict[str, list[str]] = {}
        self.front: WebhookFront | None = None
        self._exit = ExitStack()
        try:
            self._start(options)
        except BaseException:
            self._exit.close()
            raise

    def close(self) -> None:
        """End everything; any number of times."""
        self._exit.close()

    def _start(self, options: Options) -> None:
        real = bool(options.api_key)
        with ThreadPoolExecutor(4) as starters:
            valkey, dynamodb = starters.submit(Valkey), starters.submit(DynamoDB)
            fakes = [] if real else [starters.submit(FakeStripe, seed=SEED) for _ in range(2)]
            # The stack learns of each as soon as it runs; what starts while we are interrupted ends with the process.
            self.fakes = tuple(self._exit.enter_context(fake.result()) for fake in fakes)
            self.stores = Stores(self._exit.enter_context(valkey.result()), self._exit.enter_context(dynamodb.result()))
        bases = [fake.url for fake in self.fakes] or [options.api_base] * 2
        common = [function_environment(base, options.api_key or FAKE_KEY, events=not real) for base in bases]
        cached = {**common[0], **self.stores.environment}
        self.cached = self._half(WITH, cached, options)
        self.plain = self._half(WITHOUT, {**common[1], **CACHE_OFF}, options)
        if not real:
            self._wire_fakes(cached)
        with ThreadPoolExecutor(2) as starters:
            warming = [starters.submit(_warm, self.cached, WARM_WITH), starters.submit(_warm, self.plain, WARM_WITHOUT)]
            try:
                for each in warming:
                    each.result()
            except BaseException:
                # Leaving the block waits for both: with their pools closed they stop at once.
                self._exit.close()
                raise
        for fake in self.fakes:
            fake.configure(latency=LATENCY, limits=LIMITS, delivery=DELIVERY)

    def _half(self, name: str, environment: dict[str, str], options: Options) -> Half:
        pool = self._exit.enter_context(WorkerPool(options.workers, ENTITLEMENTS, environment))
        half = Half(name, pool, options.workers)
        # Left first: a thread must not start a sandbox in a pool that is being closed.
        self._exit.callback(half.stop)
        return half

    def _wire_fakes(self, environment: dict[str, str]) -> None:
        secret = f"whsec_{secrets.token_hex(16)}"
        pool = WorkerPool(WEBHOOK_WORKERS, WEBHOOK, {**environment, "STRIPE_CACHE_WEBHOOK_SECRET": secret})
        self._exit.enter_context(pool)
        pool.warm()
        self.webhook_pool = pool
        self.front = self._exit.enter_context(WebhookFront(pool))
        for fake in self.fakes:
            self.ids = fake.seed(CUSTOMERS, PRODUCTS)
        self.fakes[0].configure(webhooks=[{"url": self.front.url, "secrets": [secret]}])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _warm(half: Half, most: int) -> None:
    """Start sandboxes and let each serve one request, for a customer that does not exist: code and connections."""
    half.pool.warm(min(half.width, most))
    for worker in half.pool.workers:
        worker.invoke(entitlements_event("cus_nobody"), INVOCATION_SECONDS)
