"""Whatever asks DynamoDB takes a refusal for what it is: throttled, without valid credentials, or refused for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fake_dynamodb import PREFIX, SERVICE, FakeDynamoDB
from fakes import FakeClock, RecordingMeter, key_of, stored_of

from stripe_cache import Settings, StripeCache
from stripe_cache.core.allocation import BATCH_READS, Allocation
from stripe_cache.core.breaker import FIRST_PAUSE
from stripe_cache.core.claims import Claims
from stripe_cache.core.deadline import Deadline
from stripe_cache.core.errors import (
    SettingError,
    StripeCacheError,
    TableError,
    TierError,
    TierThrottledError,
)
from stripe_cache.core.outbox import Missed, Outboxes
from stripe_cache.core.ports import NO_HOLD, Claim, Counter, HoldChange, NullMeter, Slot, Stamp
from stripe_cache.core.protocol import Lease
from stripe_cache.core.refresh import Refresher
from stripe_cache.core.seen import Seen
from stripe_cache.tiers.dynamodb import DynamoDBTier
from stripe_cache.tiers.dynamodb_connection import connect
from stripe_cache.tiers.dynamodb_table import Table
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.outbox_dynamodb import DynamoDBOutbox
from stripe_cache.tiers.read_counts import DynamoDBReads
from stripe_cache.tiers.refresh_locks import DynamoDBLock
from stripe_cache.tiers.seen_stores import DynamoDBSeen

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.fake_stripe.client import FakeStripe

N = "acct_1.test"
KEY = key_of(N)
REFUSALS: list[tuple[str, type[StripeCacheError]]] = [
    (f"{PREFIX}ProvisionedThroughputExceededException", TierThrottledError),
    (f"{PREFIX}ThrottlingException", TierThrottledError),
    (f"{PREFIX}RequestLimitExceeded", TierThrottledError),
    (f"{SERVICE}ExpiredTokenException", TierError),
    (f"{SERVICE}UnrecognizedClientException", SettingError),
    (f"{SERVICE}AccessDeniedException", SettingError),
    (f"{PREFIX}ResourceNotFoundException", TableError),
]
NAMES = [kind.partition("#")[2] for kind, _ in REFUSALS]
BRIEF = [kind for kind, error in REFUSALS if error is TierThrottledError]
STEPS: dict[str, Callable[[DynamoDBTier], object]] = {
    "read": lambda tier: tier.read(N, [Slot("cus_1", KEY)]),
    "read-many": lambda tier: tier.read(N, [Slot("cus_1"), Slot("cus_2")]),
    "touch": lambda tier: tier.touch(N, ["cus_1"], "t", 60),
    "settle": lambda tier: tier.settle(N, [("cus_1", "t")], Stamp("e", 1)),
    "fill": lambda tier: tier.store(KEY, "t", stored_of(), 60),
    "void": lambda tier: tier.void(N, ["cus_1"], "t", NO_HOLD),
    "hold": lambda tier: tier.void(N, ["cus_1"], "t", HoldChange(add="w@9")),
    "count": lambda tier: tier.count(N),
    "announce": lambda tier: tier.count(N, started=1),
    "claim": lambda tier: tier.claim(KEY, "t", "token", 5.0),
    "peek": lambda tier: tier.claim(KEY, "t", "token", 0),
    "release": lambda tier: tier.release(KEY, "t", "token", 2.0),
}


@pytest.fixture
def tier(fake_dynamodb: FakeDynamoDB) -> DynamoDBTier:
    del fake_dynamodb
    client = connect(5.0)
    return DynamoDBTier(lambda: client, "the-table", FakeClock(), NullMeter())


class Queue:
    """A queue for refreshes, and what is in it."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any], delay: int = 0) -> None:
        del delay
        self.sent.append(message)


@pytest.mark.parametrize(("kind", "error"), REFUSALS, ids=NAMES)
def test_every_step_asks_once_and_says_what_it_is(
    fake_dynamodb: FakeDynamoDB, tier: DynamoDBTier, kind: str, error: type[StripeCacheError]
) -> None:
    fake_dynamodb.refuse(kind)
    said: dict[str, tuple[type[StripeCacheError], int]] = {}
    for name, step in STEPS.items():
        fake_dynamodb.requests.clear()
        with pytest.raises(StripeCacheError) as caught:
            step(tier)
        said[name] = type(caught.value), len(fake_dynamodb.requests)
    assert said == dict.fromkeys(STEPS, (error, 1))


@pytest.mark.parametrize(("kind", "error"), REFUSALS, ids=NAMES)
def test_what_is_asked_without_a_guard_never_lets_it_out(
    fake_dynamodb: FakeDynamoDB, kind: str, error: type[StripeCacheError]
) -> None:
    del error
    fake_dynamodb.refuse(kind)
    clock, meter, queue = FakeClock(), RecordingMeter(), Queue()
    client = connect(5.0)
    table = Table(lambda: client, "the-table")
    seen = Seen(DynamoDBSeen(lambda: client, "the-table", clock), clock)
    assert seen.known([N], ["evt_1"]) == set()
    clock.advance(60)
    seen.mark([N], ["evt_1"])
    outboxes = Outboxes([DynamoDBOutbox(lambda: client, "the-table", clock)], clock, meter)
    assert not outboxes.take(Missed(N, ("cus_1",), ("redis",)))
    refresher = Refresher(queue, DynamoDBLock(table, clock), clock, meter)
    assert refresher.send({"namespace": N, "variant": "v1"})
    assert len(queue.sent) == 1, "without the lock every process may ask"
    allocation = Allocation(DynamoDBReads(table), clock, batched=True)
    for _ in range(BATCH_READS):
        allocation.tally(N)
    report = allocation.report([N], None)
    assert (report.reads, report.complete) == (BATCH_READS, False)
    assert len(fake_dynamodb.requests) == 6


@pytest.mark.parametrize("kind", [f"{SERVICE}AccessDeniedException", f"{PREFIX}ResourceNotFoundException", BRIEF[0]])
def test_a_cache_whose_only_tier_refuses_answers_every_read(
    fake_dynamodb: FakeDynamoDB, fake_stripe: FakeStripe, kind: str
) -> None:
    fake_stripe.configure(latency={}, faults=[], limits={})
    customer = fake_stripe.seed(1, 1)["customers"][0]
    fake_dynamodb.refuse(kind)
    settings = Settings(
        namespace="acct_1", table="the-table", api_base=fake_stripe.url, dynamodb_timeout=5.0, rate_limits=None
    )
    cache = StripeCache(settings)
    for _ in range(2 * BATCH_READS):
        assert cache.get(f"/v1/customers/{customer}", api_key="sk_test_refused").data["id"] == customer


@pytest.mark.parametrize(("kind", "error"), REFUSALS, ids=NAMES)
def test_a_claim_that_is_refused_lets_everybody_ask(
    fake_dynamodb: FakeDynamoDB, tier: DynamoDBTier, kind: str, error: type[StripeCacheError]
) -> None:
    del error
    clock = FakeClock()
    guard = GuardedTier(tier, 60.0, clock, RecordingMeter())
    claims = Claims(Deadline(clock, 1.0, 1.0))
    lease = Lease(guard, KEY, "t", Counter("e", 1, 1))
    fake_dynamodb.refuse(kind)
    assert claims.take(lease) is Claim.ALONE
    claims.release(lease)


@pytest.mark.parametrize("kind", [*BRIEF, f"{PREFIX}InternalServerError"])
def test_a_throttled_table_is_left_alone_for_a_second_at_a_time_and_a_dead_one_for_longer_and_longer(
    fake_dynamodb: FakeDynamoDB, tier: DynamoDBTier, kind: str
) -> None:
    clock = FakeClock()
    guard = GuardedTier(tier, 60.0, clock, RecordingMeter())
    fake_dynamodb.refuse(kind)
    for _ in range(2):
        guard.read(N, [Slot("cus_1")])
    asked = []
    for _ in range(8):
        clock.advance(FIRST_PAUSE)
        before = len(fake_dynamodb.requests)
        guard.read(N, [Slot("cus_1")])
        asked.append(len(fake_dynamodb.requests) - before)
    assert asked == ([1] * 8 if kind in BRIEF else [1, 0, 1, 0, 0, 0, 1, 0])
    # An invalidation is tried whatever the state; nobody may be told that it is done.
    with pytest.raises(TierError):
        guard.void(N, ["cus_1"], "t", NO_HOLD)


@pytest.mark.parametrize("kind", BRIEF)
def test_a_table_that_refuses_some_goes_on_being_asked(
    fake_dynamodb: FakeDynamoDB, tier: DynamoDBTier, kind: str
) -> None:
    guard = GuardedTier(tier, 60.0, FakeClock(), RecordingMeter())
    for _ in range(5):
        fake_dynamodb.refuse(kind)
        guard.read(N, [Slot("cus_1")])
        fake_dynamodb.admit({"pk": {"S": f"{N}|cus_1"}, "g": {"S": "t1"}})
        assert guard.read(N, [Slot("cus_1")])[0].generation == "t1"
    assert not guard.is_open


def test_reads_that_could_not_be_told_do_not_make_every_reader_wait_and_are_told_later(
    fake_dynamodb: FakeDynamoDB,
) -> None:
    clock = FakeClock()
    client = connect(5.0)
    allocation = Allocation(DynamoDBReads(Table(lambda: client, "the-table")), clock, batched=True)
    fake_dynamodb.refuse(f"{PREFIX}InternalServerError", status=500)
    accounts = [f"acct_{number}.test" for number in range(3 * BATCH_READS)]
    for namespace in accounts:
        allocation.tally(namespace)
    assert len(fake_dynamodb.requests) == 1, "one finds out for all, and the others are left for later"
    fake_dynamodb.status, fake_dynamodb.body = 200, b'{"Attributes": {}}'
    clock.advance(FIRST_PAUSE)
    before = len(fake_dynamodb.requests)
    for _ in range(2 * BATCH_READS):
        allocation.tally(accounts[0])
    told = len(fake_dynamodb.requests) - before
    assert told == len(accounts) + 1, "every account once, and what came in between"
