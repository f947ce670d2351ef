"""What a team would use instead: an HTTP cache under the SDK's own transport, or a few careful lines on redis-py."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import requests
import requests_cache
import stripe
from hishel import RedisStorage
from hishel.requests import CacheAdapter
from requests_cache.backends.redis import RedisCache

from benchmarks.floors import MEMORY, REDIS
from benchmarks.measure import PEER, Contender
from benchmarks.stage import API_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.stage import Shape, Stage

_TTL = 3600
_VARY = ["Authorization", "Stripe-Account", "Stripe-Context", "Stripe-Version"]
"""What requests-cache must be told to keep apart; by itself it gives one key's answers to another."""


def peers(stage: Stage, shape: Shape) -> list[Contender]:
    """Return the peers for both ways to read, warmed."""
    transports = [
        ("requests-cache: redis", REDIS, _requests_cache(RedisCache(connection=stage.redis()))),
        ("requests-cache: memory", MEMORY, _requests_cache("memory")),
        ("hishel: redis", REDIS, _hishel(stage)),
    ]
    found = []
    for name, floor, session in transports:
        client = stripe.StripeClient(
            API_KEY, http_client=stripe.RequestsClient(session=session), base_addresses={"api": stage.stripe.url}
        )
        found.append(Contender(name, "client", shape.name, PEER, shape.through(client), floor))
        found.append(Contender(name, "get", shape.name, PEER, _session_get(session, stage, shape), floor))
    by_hand = ByHand(stage, shape)
    found.append(Contender("by hand: redis", "client", shape.name, PEER, by_hand.object, REDIS))
    found.append(Contender("by hand: redis", "get", shape.name, PEER, by_hand.plain, REDIS))
    for contender in found:
        for index in range(2 * len(shape.ids)):
            contender.call(index)
    return found


class ByHand:
    """What a careful engineer writes in an afternoon: GET, json.loads, and SET with a TTL after a miss."""

    def __init__(self, stage: Stage, shape: Shape) -> None:
        self._redis = stage.redis()
        self._client = stripe.StripeClient(API_KEY, base_addresses={"api": stage.stripe.url})
        self._shape = shape

    def plain(self, index: int) -> Any:
        """Return the n-th object as plain JSON."""
        path, params = self._shape.path(index), self._shape.params
        key = f"app:stripe:{stripe.api_version}:{path}?{urlencode(params, doseq=True)}"
        kept: Any = self._redis.get(key)
        if kept is not None:
            return json.loads(kept)
        answer = self._client.raw_request("get", self._shape.target(index))
        self._redis.set(key, answer.body, ex=_TTL)
        return json.loads(answer.body)

    def object(self, index: int) -> Any:
        """Return the n-th object as the SDK's."""
        kind = stripe.Customer if self._shape.name == "customer" else stripe.Subscription
        return kind.construct_from(self.plain(index), API_KEY)


def _requests_cache(backend: Any) -> requests.Session:
    # Stripe's answers say no-store; a session of its default settings ignores that and goes by expire_after.
    return requests_cache.CachedSession(backend=backend, expire_after=_TTL, match_headers=_VARY)


def _hishel(stage: Stage) -> requests.Session:
    session = requests.Session()
    session.mount("http://", CacheAdapter(storage=RedisStorage(stage.redis(), default_ttl=_TTL)))
    return session


def _session_get(session: requests.Session, stage: Stage, shape: Shape) -> Callable[[int], Any]:
    headers: Mapping[str, str] = {"Authorization": f"Bearer {API_KEY}"}
    return lambda index: session.get(stage.stripe.url + shape.target(index), headers=headers, timeout=10).json()
