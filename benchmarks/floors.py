"""The floors: what nothing that gives the same to its caller can beat, because it does only the unavoidable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import stripe

from benchmarks.measure import FLOOR, Contender
from benchmarks.stage import API_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.stage import Shape, Stage

    Fetch = Callable[[str], bytes]

MEMORY, REDIS, DYNAMODB = "floor: memory", "floor: redis GET", "floor: dynamodb GetItem"


def floors(stage: Stage, shape: Shape, bodies: Mapping[str, bytes]) -> list[Contender]:
    """Return the floors of each tier, for both ways to read; `bodies` are the answers by path and query."""
    fetches: list[tuple[str, Fetch, int]] = [
        (MEMORY, dict(bodies).__getitem__, 1),
        (REDIS, _from_redis(stage, bodies), 1),
        (DYNAMODB, _from_dynamodb(stage, bodies), 5),
    ]
    found = []
    for name, fetch, slowness in fetches:
        client = stripe.StripeClient(
            API_KEY, http_client=PerfectTransport(fetch, stage.stripe.url), base_addresses={"api": stage.stripe.url}
        )
        found.append(Contender(name, "client", shape.name, FLOOR, shape.through(client), slowness=slowness))
        found.append(Contender(name, "get", shape.name, FLOOR, _plain(fetch, shape), slowness=slowness))
    return found


class PerfectTransport(stripe.HTTPClient):
    """A transport under the SDK that finds every answer with one fetch, under the URL as it is: no key, no checks."""

    name = "perfect"

    def __init__(self, fetch: Fetch, api_base: str) -> None:
        super().__init__()
        self._fetch = fetch
        self._base = len(api_base)

    def request_with_retries(  # noqa: D102 (the SDK's contract)
        self, method: str, url: str, headers: Mapping[str, str], *_args: Any, **_options: Any
    ) -> tuple[Any, int, Mapping[str, str]]:
        del method, headers
        return self._fetch(url[self._base :]), 200, {}


def _plain(fetch: Fetch, shape: Shape) -> Callable[[int], Any]:
    targets = [shape.target(index) for index in range(len(shape.ids))]
    return lambda index: orjson.loads(fetch(targets[index % len(targets)]))


def _from_redis(stage: Stage, bodies: Mapping[str, bytes]) -> Fetch:
    client = stage.redis()
    for target, body in bodies.items():
        client.set(target, body)
    get: Any = client.get
    return get  # type: ignore[no-any-return]  # redis-py types a bytes client's replies as anything


def _from_dynamodb(stage: Stage, bodies: Mapping[str, bytes]) -> Fetch:
    client, table = stage.boto(), stage.table
    for target, body in bodies.items():
        client.put_item(TableName=table, Item={"pk": {"S": f"floor|{target}"}, "b": {"B": body}})

    def fetch(target: str) -> bytes:
        answer = client.get_item(TableName=table, Key={"pk": {"S": f"floor|{target}"}}, ConsistentRead=True)
        return bytes(answer["Item"]["b"]["B"])

    return fetch
