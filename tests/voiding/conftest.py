from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from local.fake_stripe.client import FakeStripe
from stripe_cache import Settings, StripeCache

if TYPE_CHECKING:
    from collections.abc import Iterator

    import stripe

    from local.dynamodb import DynamoDB
    from local.valkey import Valkey

KEY = "sk_test_a"


class Watch:
    """A cache on the real tiers in front of the fake Stripe, and the paths somebody has read through it.

    The memory tier is off: what is checked is what the shared tiers say.
    """

    def __init__(self, fake: FakeStripe, cache: StripeCache) -> None:
        self.fake = fake
        self.cache = cache
        self.client: stripe.StripeClient = cache.client(KEY)
        self._seen: set[str] = set()

    def read(self, *paths: str) -> None:
        """Read the paths into the cache, and see that they are in it."""
        for path in paths:
            self.get(path)
            assert self.is_hit(path), path

    def get(self, path: str) -> Any:
        return self.cache.get(path, api_key=KEY).data

    def is_hit(self, path: str) -> bool:
        return self.cache.get(path, api_key=KEY).status.hit

    def write(self, method: str, path: str, **params: Any) -> dict[str, Any]:
        """Write through the client, as a caller of the SDK does."""
        answer: dict[str, Any] = json.loads(self.client.raw_request(method, path, **params).body)
        return answer

    def change(self, method: str, path: str, **params: Any) -> dict[str, Any]:
        """Change something behind the cache's back."""
        self._seen = {event["id"] for event in self._events()}
        return self.fake.mutate(path, method, **params)

    def apply_events(self) -> list[str]:
        """Apply what the last change sent, newest first, because no order is promised; return the types."""
        new = [event for event in self._events() if event["id"] not in self._seen]
        for event in new:
            self.cache.apply_event(event)
        return [event["type"] for event in new]

    def voided(self, *paths: str) -> None:
        """Check that the next read asks Stripe and sees what is true now."""
        for path in paths:
            answer = self.cache.get(path, api_key=KEY)
            assert not answer.status.hit, f"{path} is still served"
            assert answer.data == self.fake.truth(path), path

    def kept(self, *paths: str) -> None:
        """Check that these are still served, and still true."""
        for path in paths:
            answer = self.cache.get(path, api_key=KEY)
            assert answer.status.hit, f"{path} was voided without need"
            assert answer.data == self.fake.truth(path), path

    def _events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.fake.truth("/v1/events?limit=100")["data"]
        return found


@pytest.fixture(scope="session")
def servers(valkey: Valkey, dynamodb: DynamoDB) -> Iterator[tuple[Valkey, DynamoDB, FakeStripe]]:
    with FakeStripe(seed=11) as fake:
        yield valkey, dynamodb, fake


@pytest.fixture
def watch(servers: tuple[Valkey, DynamoDB, FakeStripe], table: str, monkeypatch: pytest.MonkeyPatch) -> Watch:
    valkey, dynamodb, fake = servers
    for name, value in dynamodb.environment().items():
        monkeypatch.setenv(name, value)
    fake.reset(state=True)
    fake.configure(limits={"factor": 1000})
    settings = Settings(
        namespace=f"acct_{time.time_ns()}",
        redis_url=valkey.url,
        table=table,
        api_base=fake.url,
        events=True,
        memory_max_bytes=0,
        redis_timeout=5,
        dynamodb_timeout=10,
        rate_limits=None,
    )
    return Watch(fake, StripeCache(settings))
