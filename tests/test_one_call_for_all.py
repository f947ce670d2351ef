"""Hundreds of cold readers of one key, in processes of their own: one call of Stripe, and nobody gets an old answer."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from threading import Lock
from typing import TYPE_CHECKING, Any

import pytest
from fakes import eventually
from loopback import PATIENCE, Loopback, Quiet

from local.workers import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from world import World

    from local.workers import Result

PROCESSES, READERS = 8, 40
PATH = "/v1/customers/cus_1"


class SlowStripe(Loopback):
    """Reads its one customer as soon as it is asked, and answers when the gate is open."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.name = "old"
        self.calls: list[float] = []
        self.status = 200
        self.seconds = 0.0
        super().__init__(_Handler)
        self.gate.clear()


class _Handler(Quiet, BaseHTTPRequestHandler):
    server: SlowStripe

    def do_GET(self) -> None:
        stripe = self.server
        is_ours = self.path.startswith(PATH)
        body = f'{{"id": "cus_1", "object": "customer", "name": "{stripe.name}"}}'.encode()
        if is_ours:
            with stripe.lock:
                stripe.calls.append(time.monotonic())
            stripe.gate.wait(PATIENCE)
            time.sleep(stripe.seconds)
        if stripe.status != 200 or not is_ours:
            body = b'{"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "none"}}'
        self.answer(stripe.status if is_ours else 404, body, [("Content-Type", "application/json")])


@pytest.fixture
def slow() -> Iterator[SlowStripe]:
    with SlowStripe() as server:
        yield server


class Crowd:
    """Warm processes that have not read the customer yet."""

    def __init__(self, world: World, slow: SlowStripe, tier: str, processes: int, **settings: str) -> None:
        self._key = world.key()
        environment = {
            "STRIPE_CACHE_NAMESPACE": world.account,
            "STRIPE_CACHE_API_BASE": slow.url,
            "STRIPE_CACHE_EVENTS": "true",
            "STRIPE_CACHE_REDIS_TIMEOUT": "20",
            "STRIPE_CACHE_DYNAMODB_TIMEOUT": "20",
            "STRIPE_CACHE_ORIGIN_TIMEOUT": "60",
            "STRIPE_CACHE_RATE_LIMITS": "off",
            **({"STRIPE_CACHE_REDIS_URL": world.valkey.url} if tier == "redis" else {}),
            **({"STRIPE_CACHE_TABLE": world.table} if tier == "dynamodb" else {}),
            **world.dynamodb.environment(),
            **{f"STRIPE_CACHE_{name}": value for name, value in settings.items()},
        }
        self.pool = WorkerPool(processes, "flight_worker:handler", environment)
        self._threads = ThreadPoolExecutor(processes * 2)
        self.pool.warm()
        # The record of another customer: connections, scripts and counters are there then.
        for ready in [self._invoke(path="/v1/customers/cus_2") for _ in range(processes)]:
            assert ready.result(60).error is None

    def read(self, processes: int, readers: int = READERS, ahead: float = 0.0) -> list[Future[Result]]:
        """Let all readers of that many processes begin at the same moment, `ahead` seconds from now."""
        at = time.time() + ahead
        return [self._invoke(path=PATH, readers=readers, at=at) for _ in range(processes)]

    def _invoke(self, **event: Any) -> Future[Result]:
        return self._threads.submit(self.pool.invoke, {"key": self._key, **event}, 60)

    def close(self) -> None:
        self.pool.close()
        self._threads.shutdown()


@pytest.fixture
def crowd(world: World, slow: SlowStripe) -> Iterator[Callable[..., Crowd]]:
    made: list[Crowd] = []

    def make(tier: str, processes: int = PROCESSES, **settings: str) -> Crowd:
        made.append(Crowd(world, slow, tier, processes, **settings))
        return made[-1]

    yield make
    slow.gate.set()
    for one in made:
        one.close()


def names(futures: list[Future[Result]]) -> list[str]:
    results = [future.result(60) for future in futures]
    assert [result.error for result in results] == [None] * len(results)
    return [name for result in results for name in result.payload["found"]]


@pytest.mark.parametrize("tier", ["redis", "dynamodb"])
def test_hundreds_of_cold_readers_in_many_processes_cause_one_call(
    crowd: Callable[..., Crowd], slow: SlowStripe, tier: str
) -> None:
    slow.seconds = 0.5
    slow.gate.set()
    readers = crowd(tier)
    found = names(readers.read(PROCESSES, ahead=0.3))
    assert found == ["old"] * (PROCESSES * READERS)
    assert len(slow.calls) == 1


@pytest.mark.parametrize("tier", ["redis", "dynamodb"])
def test_whoever_begins_after_an_invalidation_never_gets_the_call_from_before_it(
    crowd: Callable[..., Crowd], slow: SlowStripe, world: World, tier: str
) -> None:
    readers = crowd(tier, 6)
    before = readers.read(3, 10)
    assert eventually(lambda: len(slow.calls) == 1)
    slow.name = "new"
    world.cache(tier).invalidate("cus_1")
    after = readers.read(3, 10)
    # Those who began before wait for a call whose answer cannot be stored any more: they take part in the new one.
    assert eventually(lambda: len(slow.calls) >= 2)
    slow.gate.set()
    assert names(after) == ["new"] * 30
    assert set(names(before)) <= {"old", "new"}
    # A thread of the first caller's process that looked while the record was being voided asks for itself; no other.
    assert len(slow.calls) in {2, 3}


@pytest.mark.parametrize("tier", ["redis", "dynamodb"])
def test_readers_recover_within_a_claims_length_from_a_holder_that_was_killed(
    crowd: Callable[..., Crowd], slow: SlowStripe, tier: str
) -> None:
    readers = crowd(tier, 6, ORIGIN_TIMEOUT="1.5", ORIGIN_WAIT="0.5")
    idle = {worker.pid for worker in readers.pool._idle}
    (doomed,) = readers.read(1, 1)
    assert eventually(lambda: len(slow.calls) == 1)
    (holder,) = idle - {worker.pid for worker in readers.pool._idle}
    waiting = readers.read(5)
    next(worker for worker in readers.pool.workers if worker.pid == holder).kill()
    killed = time.monotonic()
    slow.gate.set()
    assert names(waiting) == ["old"] * (5 * READERS)
    # The claim: 0.5 s for a turn, 1.5 s for the answer, 1 s to store it; then a call and the last pause.
    assert time.monotonic() - killed < 3.0 + 2.0
    assert len(slow.calls) == 2, "one takes over, and not everybody at once"
    assert doomed.result(60).error is not None


@pytest.mark.parametrize("tier", ["redis", "dynamodb"])
def test_readers_of_what_cannot_be_stored_do_not_queue_up_one_behind_the_other(
    crowd: Callable[..., Crowd], slow: SlowStripe, tier: str
) -> None:
    slow.status, slow.seconds = 404, 0.6
    slow.gate.set()
    readers = crowd(tier, 6)
    results = [one.result(60) for one in readers.read(6, 50 // 6, ahead=0.3)]
    assert {name for result in results for name in result.payload["found"]} == {"InvalidRequestError"}
    # The first call, a pause, and a call of one's own: two calls, not six.
    assert max(result.payload["slowest"] for result in results) < 6 * 0.6
    assert len(slow.calls) <= 6
