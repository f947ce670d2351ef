"""The real client and engine over one shared tier, with a clock that is moved by hand.

Answers are put on the shelf, things happen, and the answers are looked for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import stripe
from fakes import FakeClock, RecordingMeter

from stripe_cache import Settings, StripeCache
from stripe_cache.core.answer import Answer
from stripe_cache.core.plan import Plan, Request
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.memory import MemoryTier
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "sk_test_a"
API = "https://api.stripe.com"


class Saying(stripe.HTTPClient):
    """Answers every request with what it was last told to say."""

    name = "saying"

    def __init__(self) -> None:
        super().__init__()
        self.body: Mapping[str, Any] = {}

    def request(self, method: str, url: str, headers: Any, post_data: Any = None) -> tuple[str, int, dict[str, str]]:
        del method, url, headers, post_data
        return json.dumps(self.body), 200, {}

    def close(self) -> None:
        pass


class Shelf:
    """One process whose only tier is one that keeps an entry to its end, as DynamoDB does."""

    def __init__(self, *, events: bool = True, policy: Mapping[str, Any] | None = None) -> None:
        self.clock = FakeClock()
        meter = RecordingMeter()
        tier = MemoryTier(100_000_000, self.clock)
        tier.name = "dynamodb"
        settings = Settings(
            namespace="acct_1", livemode=False, events=events, memory_max_bytes=0, rate_limits=None, policy=policy or {}
        )
        guarded = GuardedTier(tier, 60.0, self.clock, meter)
        self.engine = build(settings, clock=self.clock, meter=meter, shared=(guarded,))
        self._cache = StripeCache(settings, engine=self.engine)
        self._stripe = Saying()
        self._client: stripe.StripeClient = self._cache.client(KEY, http_client=self._stripe)

    def put(self, path: str, body: Mapping[str, Any]) -> bool:
        """Read an answer for the first time; return whether it is on the shelf now."""
        status = self._send("get", path, body)
        assert "hit" not in status, f"{path} was there already: {status}"
        return self.has(path)

    def has(self, path: str) -> bool:
        """Tell whether the next reader is given the answer as fresh."""
        plan = self.engine.planner.plan(Request("get", API + path, KEY, "", "", stripe.api_version or ""))
        found = self.engine.reads.peek(plan) if isinstance(plan, Plan) else None
        return isinstance(found, Answer) and not found.status.stale

    def write(self, method: str, path: str, body: Mapping[str, Any], **form: Any) -> None:
        """Write through the client; `body` is Stripe's answer."""
        self._send(method, path, body, **form)

    def hear(self, event_type: str, body: Mapping[str, Any], previous: Mapping[str, Any] | None = None) -> None:
        """Apply a snapshot event of the account itself."""
        data = {"object": body} | ({"previous_attributes": previous} if previous else {})
        self.apply({"object": "event", "type": event_type, "data": data})

    def apply(self, event: Mapping[str, Any]) -> None:
        """Apply an event as it comes."""
        self._cache.apply_event({"id": "evt_1", "livemode": False, "created": 1, **event})

    def _send(self, method: str, path: str, body: Mapping[str, Any], **form: Any) -> str:
        self._stripe.body = body
        answer = self._client.raw_request(method, path, **form)
        return answer.headers.get("cache-status", "")
