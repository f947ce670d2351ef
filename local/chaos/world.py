"""What a fault happens to: real servers behind proxies, processes that read, and the functions of the cache."""

from __future__ import annotations

import contextlib
import json
import secrets
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import redis

from local.chaos.proxy import Proxy
from local.chaos.replays import Replays
from local.demo import views
from local.demo.front import WebhookFront
from local.demo.world import DYNAMODB_WARM_UP_CALLS, WEBHOOK
from local.dynamodb import DynamoDB
from local.fake_stripe.client import FakeStripe
from local.process import LocalServerError
from local.redis_cluster import RedisCluster
from local.valkey import Valkey
from local.workers import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.workers import Worker

HANDLER = "local.chaos.load:handler"
CUSTOMERS, PRODUCTS = 16, 6
LATENCY = {"factor": 1.0, "low": 20.0, "high": 100.0}
"""Milliseconds of the fake Stripe: a fifth of the real one's, so that a run of all faults takes minutes."""
LIMITS = {"factor": 1.0, "test": 100.0, "endpoint": 25.0}
"""What Stripe allows a live account."""
DELIVERY = {"delay_ms": [10.0, 100.0], "duplicate": 0.1, "reorder": 0.1, "reorder_ms": 300.0, "retries": 12}
WEBHOOK_WORKERS = 2
PROXIED, DIRECT, CLUSTER = "proxied", "direct", "cluster"
DEED_SECONDS = 60.0
ORIGIN_TIMEOUT = 2.0
"""Seconds a read waits for Stripe: a fifth of the default, as the fake answers in a fifth of the real one's time."""


class Servers:
    """The servers of a whole run and the proxies in front of them; a fault may end one, `restore` brings it back."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.hogs: list[redis.Redis] = []
        self._cluster: RedisCluster | None = None
        self._exit = ExitStack()
        try:
            with ThreadPoolExecutor(3) as starters:
                valkey, dynamodb = starters.submit(Valkey), starters.submit(DynamoDB)
                stripe = starters.submit(FakeStripe, seed=seed)
            self.valkey = self._exit.enter_context(valkey.result())
            self.dynamodb = self._exit.enter_context(dynamodb.result())
            self.stripe = self._exit.enter_context(stripe.result())
            self.table = self.dynamodb.create_table()
            self._warm_up()
            self.redis_proxy = self._exit.enter_context(Proxy(self.valkey.port))
            self.dynamodb_proxy = self._exit.enter_context(Proxy(self.dynamodb.port))
        except BaseException:
            self.close()
            raise

    @property
    def cluster(self) -> RedisCluster:
        """A Redis Cluster of three masters, each with a replica; started when it is first asked for."""
        if self._cluster is None:
            self._cluster = RedisCluster()
        return self._cluster

    def environment(self, way: str) -> dict[str, str]:
        """Return what leads a process here: `proxied`, `direct`, or to the `cluster`, which has no proxy."""
        proxied = {
            "AWS_ENDPOINT_URL_DYNAMODB": f"http://{self.dynamodb.host}:{self.dynamodb_proxy.port}",
            "STRIPE_CACHE_REDIS_URL": f"redis://{self.valkey.host}:{self.redis_proxy.port}/0",
        }
        return {
            **self.dynamodb.environment(),
            "STRIPE_CACHE_REDIS_URL": self.cluster.url if way == CLUSTER else self.valkey.url,
            **(proxied if way == PROXIED else {}),
            "STRIPE_CACHE_TABLE": self.table,
            "STRIPE_CACHE_API_BASE": self.stripe.url,
        }

    def ask_redis(self, *command: str | int) -> Any:
        """Send Valkey itself one command, past the proxy."""
        with redis.Redis.from_url(self.valkey.url, protocol=2, socket_timeout=5.0) as client:
            return client.execute_command(*command)

    def redis_memory(self) -> dict[str, Any]:
        """Return what Valkey says of its memory."""
        with redis.Redis.from_url(self.valkey.url, protocol=2, socket_timeout=5.0) as client:
            found: dict[str, Any] = client.info("memory")
        return found

    def restart_valkey(self) -> None:
        """Start another Valkey, empty, on the port of the one that was killed."""
        port = self.valkey.port
        self.valkey.stop()
        self.valkey = self._exit.enter_context(Valkey(port=port))

    def restart_dynamodb(self) -> None:
        """Start another DynamoDB, with an empty table, on the port of the one that was killed."""
        port = self.dynamodb.port
        self.dynamodb.stop()
        self.dynamodb = self._exit.enter_context(DynamoDB(port=port))
        self.dynamodb.create_table(self.table)

    def close(self) -> None:
        """End everything; any number of times."""
        for hog in self.hogs:
            hog.close()
        self._exit.close()
        if self._cluster is not None:
            self._cluster.stop()

    def _warm_up(self) -> None:
        """Let the JVM compile: its first calls are slower than any deadline that makes sense for a table."""
        client = self.dynamodb.client()
        for number in range(DYNAMODB_WARM_UP_CALLS):
            key = {"pk": {"S": f"warm-up-{number}"}}
            client.update_item(
                TableName=self.table,
                Key=key,
                UpdateExpression="SET exp = :zero",
                ExpressionAttributeValues={":zero": {"N": "0"}},
            )
            client.get_item(TableName=self.table, Key=key, ConsistentRead=True)
        client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Stage:
    """One namespace, its data at the fake Stripe, `processes` that read it, and the webhook function; all new."""

    def __init__(
        self,
        servers: Servers,
        processes: int,
        *,
        way: str = PROXIED,
        customers: int = CUSTOMERS,
        policy: Mapping[str, Any] | None = None,
        settings: Mapping[str, str] | None = None,
        limits: Mapping[str, float] = LIMITS,
        latency: Mapping[str, float] = LATENCY,
    ) -> None:
        self.servers = servers
        self.frozen: dict[int, tuple[float, float]] = {}
        """Processes that a fault stopped: from when to when, by process id."""
        self.skews: dict[int, float] = {}
        """By how much the clocks of processes are to be wrong, in seconds, by process id."""
        self.namespace = f"acct_chaos{uuid.uuid4().hex[:8]}"
        self._exit = ExitStack()
        stripe = servers.stripe
        stripe.reset(state=True)
        self.ids = stripe.seed(customers, PRODUCTS)
        self.reads = _reads(self.ids)
        environment = {
            **servers.environment(way),
            "STRIPE_CACHE_NAMESPACE": self.namespace,
            "STRIPE_CACHE_EVENTS": "on",
            "STRIPE_CACHE_ORIGIN_TIMEOUT": f"{ORIGIN_TIMEOUT:g}",
            "STRIPE_CACHE_RATE_LIMITS": json.dumps({"test": limits["test"], "processes": processes}),
            **({"STRIPE_CACHE_POLICY": json.dumps(policy)} if policy else {}),
            **(settings or {}),
        }
        secret = f"whsec_{secrets.token_hex(16)}"
        function = {**environment, "STRIPE_CACHE_WEBHOOK_SECRET": secret}
        try:
            self.pool = self._exit.enter_context(WorkerPool(processes, HANDLER, environment, freeze=False))
            self.functions = self._exit.enter_context(WorkerPool(WEBHOOK_WORKERS, WEBHOOK, function))
            schedule = self._exit.enter_context(WorkerPool(1, HANDLER, environment, freeze=False))
            with ThreadPoolExecutor(3) as starters:
                for each in [starters.submit(pool.warm) for pool in (self.pool, self.functions, schedule)]:
                    each.result()
            self.front = self._exit.enter_context(WebhookFront(self.functions))
            self.replays = self._exit.enter_context(Replays(partial(self.do, schedule.workers[0], {"do": "replay"})))
        except BaseException:
            self._exit.close()
            raise
        stripe.configure(
            latency=dict(latency),
            limits=dict(limits),
            faults=[],
            delivery=DELIVERY,
            webhooks=[{"url": self.front.url, "secrets": [secret]}],
        )
        self.workers = self.pool.workers
        for number, worker in enumerate(self.workers):
            self.do(worker, {"do": "aim", "reads": self.reads, "seed": servers.seed + number})

    def do(self, worker: Worker, event: dict[str, Any]) -> dict[str, Any]:
        """Have one process do one thing; raises LocalServerError when it cannot."""
        result = worker.invoke(event, DEED_SECONDS)
        if result.error is not None:
            raise LocalServerError(f"a process of the load failed: {result.error}\n{self.pool.output()[-2000:]}")
        answer: dict[str, Any] = result.payload
        return answer

    def close(self) -> None:
        """End the processes, and let the fake Stripe tell nobody any more."""
        with contextlib.suppress(LocalServerError):
            self.servers.stripe.configure(webhooks=[], faults=[], limits={})
        self._exit.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _reads(ids: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """Return what is read, the most popular first: customers, their subscriptions, and prices in between."""
    prices = [("price", views.price_path(price)) for price in ids["prices"]]
    found: list[tuple[str, str]] = []
    for place, customer in enumerate(ids["customers"]):
        found.append(("customer", views.customer_path(customer)))
        found.append(("subscriptions", views.subscriptions_path(customer)))
        found += prices[place : place + 1]
    return found
