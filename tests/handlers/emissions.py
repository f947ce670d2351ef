"""Everything the runtime can measure, made to happen: the deployed handlers in sandboxes with every trouble in turn."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import redis
import stripe
from fakes import FakeClock
from handlers.conftest import aws_client, forget

from local.ports import free_port
from stripe_cache.handlers import container as module
from stripe_cache.handlers import entitlements, invalidations, purge, reconcile, refresh, webhook
from stripe_cache.handlers.container import container, metered
from stripe_cache.tiers import refresh_queue
from stripe_cache.wiring import build, cursor_store

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from local.dynamodb import DynamoDB
    from local.fake_stripe.client import FakeStripe
    from local.valkey import Valkey

KEY = "sk_test_handlers"
DAY = 86400.0


class Inner(stripe.RequestsClient):
    """What really sends; `meanwhile` happens while a request is under way."""

    meanwhile: Callable[[], object] | None = None

    def request_with_retries(self, *args: Any, **kwargs: Any) -> Any:
        if self.meanwhile:
            self.meanwhile()
        return super().request_with_retries(*args, **kwargs)


class Context:
    """An invocation with a minute left."""

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 60_000


@dataclass
class Life:
    """One account's services, from the first read to the last trouble. What they print is the result."""

    fake: FakeStripe
    valkey: Valkey
    dynamodb: DynamoDB
    env: pytest.MonkeyPatch
    delivery: Callable[..., dict[str, Any]]

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.env.setattr(module, "build", partial(build, clock=self.clock))
        # Some types have no stale window of their own.
        types = ("customer", "invoice", "price", "product", "subscription")
        # What an invoice and a subscription always hold bounds them.
        inside = ("line_item", "plan", "subscription_item")
        policy = {name: {"stale_window": 3 * DAY} for name in (*types, *inside)}
        self.env.setenv("STRIPE_CACHE_POLICY", json.dumps(policy))
        self.inner = Inner()
        self.ids = self.fake.seed(customers=2)
        self.paths = [
            f"/v1/{plural}/{self.ids[plural][0]}"
            for plural in ("customers", "invoices", "prices", "products", "subscriptions")
        ]

    def run(self) -> None:
        """Live through it all."""
        try:
            self._good_times()
            self._events()
            self._sweeps()
            self._missed()
            self._sick_stripe()
            self._refreshes()
            self._refused_and_skipped()
            self._corrupt()
            self._audited()
            self._dead_tiers()
            self._no_keys()
        finally:
            self.inner.close()

    def _read(self, *paths: str, **environment: str) -> None:
        """Read in a sandbox that has just started, as a team's own handler would."""
        with self.env.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            forget()
            self._serve({"paths": paths or self.paths}, Context())

    @property
    def _serve(self) -> Any:
        inner = self.inner

        @metered
        def serve(event: dict[str, Any], _context: Any) -> dict[str, Any]:
            client = container().cache.client(KEY, http_client=inner, max_network_retries=0)
            failed = 0
            for path in event["paths"]:
                try:
                    client.raw_request("get", path)
                except stripe.StripeError:
                    failed += 1
            return {"failed": failed}

        return serve

    def _good_times(self) -> None:
        asked = {"pathParameters": {"customer": self.ids["customers"][0]}}
        for _ in range(2):
            entitlements.handler(asked, Context())
        self._read()
        self._serve({"paths": [*self.paths, "/v1/events"]}, Context())
        self._read()
        self._flush()
        self._read()

    def _flush(self) -> None:
        with redis.Redis.from_url(self.valkey.url) as client:
            client.flushall()

    def _events(self) -> None:
        forget()
        self.fake.mutate(f"/v1/customers/{self.ids['customers'][0]}", name="Changed")
        event = self.fake.truth("/v1/events?limit=1")["data"][0]
        assert webhook.handler(self.delivery(event), Context())["statusCode"] == 200
        assert webhook.handler(self.delivery(event, "whsec_wrong"), Context())["statusCode"] == 400
        envelope = {"version": "0", "source": "aws.partner/stripe.com/ed_1", "detail-type": "x", "detail": event}
        batch = {"Records": [{"messageId": "1", "body": json.dumps(envelope)}]}
        assert invalidations.handler(batch, Context()) == {"batchItemFailures": []}
        purge.handler({"customer": self.ids["customers"][1]}, Context())

    def _sick_stripe(self) -> None:
        self._read()
        # Past every TTL and within every stale window, twice; then past all of them.
        for seconds, status in ((DAY + 60, 500), (0, 429), (400 * DAY, 500)):
            self.clock.advance(seconds)
            self.fake.configure(faults=[{"kind": "error", "status": status}])
            self._read()
        self.fake.configure(faults=[])

    def _refused_and_skipped(self) -> None:
        self.inner.meanwhile = lambda: [container().cache.invalidate(path.split("/")[-1]) for path in self.paths]
        self._flush()
        self._read(STRIPE_CACHE_NAMESPACE="acct_refused")
        self.inner.meanwhile = None
        self._read(STRIPE_CACHE_NAMESPACE="acct_skipped", STRIPE_CACHE_MAX_BODY_BYTES="10")

    def _refreshes(self) -> None:
        self._flush()
        self._read()
        sqs = aws_client("sqs")
        queue = sqs.create_queue(QueueName="refreshes")["QueueUrl"]
        self.clock.advance(DAY + 60)
        with self.env.context() as patient:
            # On a busy machine the queue would miss its deadline and take the message all the same: nothing would be
            # counted as queued, and Stripe, asked instead, would leave nothing stale for what comes below.
            patient.setattr(refresh_queue, "CONNECT_SECONDS", 10.0)
            patient.setattr(refresh_queue, "READ_SECONDS", 10.0)
            self._read(STRIPE_CACHE_REFRESH_QUEUE_URL=queue)
        assert "Messages" in sqs.receive_message(QueueUrl=queue)
        forget()
        assert refresh.handler({"Records": [{"messageId": "1", "body": "{}"}]}, Context()) == {"batchItemFailures": []}
        limits = json.dumps({"live": 1, "test": 1})
        self._read(*self.paths * 5, STRIPE_CACHE_RATE_LIMITS=limits, STRIPE_CACHE_ORIGIN_WAIT="0")
        # Five misses, none of which has a stale entry to fall back on, and two tokens every half second.
        limits = json.dumps({"live": 4, "test": 4})
        self._read(STRIPE_CACHE_NAMESPACE="acct_waits", STRIPE_CACHE_RATE_LIMITS=limits)

    def _corrupt(self) -> None:
        self._read()
        with redis.Redis.from_url(self.valkey.url) as client:
            for name in client.scan_iter():
                for field in client.hkeys(name):
                    if field.startswith(b"v"):
                        client.hset(name, field, b"garbage")
        client = self.dynamodb.client(timeout=10)
        table = container().settings.table
        for item in client.scan(TableName=table)["Items"]:
            if "v" in item:
                item["v"]["M"] = {name: {"B": b"garbage"} for name in item["v"]["M"]}
                client.put_item(TableName=table, Item=item)
        client.close()
        self._read()

    def _audited(self) -> None:
        # An audit waits for no turn, and the clock of the limits stands still.
        self._read(STRIPE_CACHE_RATE_LIMITS="off")
        self._read(STRIPE_CACHE_AUDIT_RATE="1", STRIPE_CACHE_RATE_LIMITS="off")
        self.fake.mutate(self.paths[0], name="Behind its back")
        self._read(STRIPE_CACHE_AUDIT_RATE="1", STRIPE_CACHE_RATE_LIMITS="off")

    def _sweeps(self) -> None:
        forget()
        reconcile.handler({}, Context())
        settings = container().settings
        cursor = json.dumps({"after": "evt_expired", "seen": []})
        cursor_store(settings).save(f"{settings.namespace}.test", cursor, self.clock.now())
        forget()
        self.fake.mutate(self.paths[0], name="Unheard of")
        reconcile.handler({}, Context())

    def _missed(self) -> None:
        """Redis misses an event, is away at the next sweep, and is back at the one after."""
        self.fake.mutate(self.paths[0], name="Missed")
        event = self.fake.truth("/v1/events?limit=1")["data"][0]
        with self.env.context() as outage:
            outage.setenv("STRIPE_CACHE_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
            forget()
            assert json.loads(webhook.handler(self.delivery(event), Context())["body"]) == {"result": "queued"}
            forget()
            (swept,) = reconcile.handler({}, Context()).values()
            assert (swept["replayed"], swept["left"] > 0) == (0, True)
        forget()
        (swept,) = reconcile.handler({}, Context()).values()
        assert (swept["replayed"] > 0, swept["left"]) == (True, 0)

    def _dead_tiers(self) -> None:
        url = aws_client("sqs").create_queue(QueueName="emissions")["QueueUrl"]
        dead = {
            "STRIPE_CACHE_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
            "AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{free_port()}",
            "STRIPE_CACHE_INVALIDATION_QUEUE_URL": url,
        }
        self._read(**dead)
        with self.env.context() as outage:
            for name, value in dead.items():
                outage.setenv(name, value)
            event = self.fake.truth("/v1/events?limit=1")["data"][0]
            assert json.loads(webhook.handler(self.delivery(event), Context())["body"]) == {"result": "queued"}

    def _no_keys(self) -> None:
        self._read(
            STRIPE_CACHE_NAMESPACE="acct_sealed",
            STRIPE_CACHE_KMS_KEY="alias/missing",
            AWS_ENDPOINT_URL_KMS=f"http://127.0.0.1:{free_port()}",
        )
