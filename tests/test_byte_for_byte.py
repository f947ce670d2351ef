"""Every GET the cache may answer: what each tier gives is, byte for byte, what the origin gave."""

from __future__ import annotations

import http.client
import re
from typing import TYPE_CHECKING, Any

import pytest

from stripe_cache.core import catalog
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.policy import Policy

if TYPE_CHECKING:
    from fakes import FakeClock
    from world import World

    from stripe_cache import StripeCache
    from stripe_cache.core.catalog import Operation

TIERS = (("memory",), ("redis",), ("dynamodb",))
_PARAMETER = re.compile(r"\{\w+\}")

CACHEABLE = [
    operation
    for operation in catalog.operations()
    if operation.method == "get" and Policy.default().rule(operation) is not None
]


def origin_bytes(world: World, target: str, key: str) -> tuple[int, bytes]:
    """Ask the fake itself, without any SDK in between."""
    connection = http.client.HTTPConnection("127.0.0.1", world.fake.port, timeout=30)
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def make_objects(world: World) -> None:
    """Fill the account with one of whatever the fake can make without knowing more than the path."""
    world.seed(customers=3, products=2)
    for operation in catalog.operations():
        if operation.kind != "create" or "{" in operation.path or not operation.path.startswith("/v1/"):
            continue
        form: dict[str, Any] = {"name": "made", "currency": "usd", "amount": 100, "email": "made@example.com"}
        try:
            world.change(operation.path, **form)
        except Exception as refused:  # noqa: BLE001 (what the fake cannot make is left out)
            assert str(refused)  # noqa: PT017


def known_ids(world: World, key: str) -> dict[str, str]:
    """Find one id of each object type through the lists."""
    found: dict[str, str] = {}
    import json

    for operation in CACHEABLE:
        if operation.kind != "list" or "{" in operation.path:
            continue
        status, body = origin_bytes(world, f"{operation.path}?limit=1", key)
        data = json.loads(body).get("data") if status == 200 else None
        for one in data or []:
            if isinstance(one.get("id"), str) and "object" in one:
                found.setdefault(one["object"], one["id"])
                found.setdefault(operation.path, one["id"])
    return found


def target_of(operation: Operation, ids: dict[str, str]) -> str | None:
    """Fill the template's parameters with ids the account has; None where one is missing."""
    path = operation.path
    while (match := _PARAMETER.search(path)) is not None:
        collection = path[: match.start()].rstrip("/")
        value = ids.get(collection) or next((ids[name] for name in operation.objects if name in ids), None)
        if value is None:
            return None
        path = path[: match.start()] + value + path[match.end() :]
    return path


def memory_ttl(cache: StripeCache, target: str, key: str) -> float:
    plan = cache.engine.planner.plan(Request("get", cache.settings.api_base + target, key, "", "", ""))
    assert isinstance(plan, Plan)
    return plan.lifetimes.memory


@pytest.fixture
def targets(world: World) -> list[str]:
    make_objects(world)
    key = world.key()
    ids = known_ids(world, key)
    found = []
    for operation in CACHEABLE:
        target = target_of(operation, ids)
        if target is None or origin_bytes(world, target, key)[0] != 200:
            continue
        found += [target, f"{target}?limit=2"] if operation.kind == "list" else [target]
    found += [f"/v1/subscriptions/{ids['subscription']}?expand[]=customer&expand[]=latest_invoice"]
    found += [f"/v1/subscriptions?expand[]=data.customer&customer={ids['customer']}"]
    return found


def test_what_every_tier_answers_is_what_the_origin_answered(
    world: World, targets: list[str], clock: FakeClock
) -> None:
    key = world.key()
    assert len(targets) >= 60
    writer = world.cache(clock=clock)
    origin = {target: origin_bytes(world, target, key)[1] for target in targets}
    first = {target: writer.get(target, api_key=key) for target in targets}
    assert {target: answer.body for target, answer in first.items()} == origin
    stored = [target for target, answer in first.items() if answer.status.stored]
    assert len(stored) >= 60, "nearly everything the fake can answer may be kept"
    for tiers in TIERS:
        reader = writer if tiers == ("memory",) else world.cache(*tiers, clock=clock)
        answers = reader.get_many(stored, api_key=key)
        elsewhere = [target for target, answer in zip(stored, answers, strict=True) if answer.status.tier != tiers[0]]
        # The policy keeps a few types out of memory.
        assert elsewhere == [
            target for target in stored if tiers == ("memory",) and memory_ttl(writer, target, key) == 0
        ]
        for target, answer in zip(stored, answers, strict=True):
            assert answer.body == origin[target], target
            assert answer.http_status == 200
            assert (
                answer.headers["request-id"] == {n.lower(): v for n, v in first[target].headers.items()}["request-id"]
            )
