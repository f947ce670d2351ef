"""Items in which somebody else has written: made anew under a generation never used, and usable at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes import key_of, stored_of
from tier_contract import HOUR

from stripe_cache.core import metrics, protocol
from stripe_cache.core.ports import NO_HOLD, Claim, HoldChange, Reading, Slot, Stamp, StoreOutcome
from stripe_cache.tiers.dynamodb import DynamoDBTier
from stripe_cache.tiers.dynamodb_connection import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes import FakeClock, RecordingMeter

    from local.dynamodb import DynamoDB

NONSENSE = [{"S": "nonsense"}, {"N": "-1.5"}, {"BOOL": True}, {"L": [{"S": "x"}]}, {"NULL": True}, {"M": {}}]
RECORD_ATTRIBUTES = ("g", "e", "n", "h", "exp", "v", "c")


@pytest.fixture(scope="module")
def client(dynamodb: DynamoDB) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in dynamodb.environment().items():
            patch.setenv(name, value)
        yield connect(20.0)


@pytest.fixture
def tier(client: Any, table: str, clock: FakeClock, meter: RecordingMeter) -> DynamoDBTier:
    return DynamoDBTier(lambda: client, table, clock, meter)


def damage(client: Any, table: str, pk: str, name: str, value: dict[str, Any]) -> None:
    client.update_item(
        TableName=table,
        Key={"pk": {"S": pk}},
        UpdateExpression="SET #a = :a",
        ExpressionAttributeNames={"#a": name},
        ExpressionAttributeValues={":a": value},
    )


def cycle(tier: DynamoDBTier, namespace: str, now: float) -> StoreOutcome:
    """Do what a miss does, as often as reads come by: the first may find the damage, and none may raise."""
    outcome = StoreOutcome.REFUSED
    for number in range(3):
        (state,), _ = tier.touch(namespace, ["cus_1"], f"t{number}", HOUR)
        if protocol.is_held(state, now):
            continue
        tier.claim(key_of(namespace), state.generation, "me", 5.0)
        outcome = tier.store(key_of(namespace), state.generation, stored_of(now=now), HOUR)
        if outcome is StoreOutcome.STORED:
            break
    return outcome


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: next(iter(value)))
@pytest.mark.parametrize("name", RECORD_ATTRIBUTES)
def test_a_record_with_nonsense_in_it_is_never_an_error_and_is_cached_again(
    *,
    tier: DynamoDBTier,
    client: Any,
    table: str,
    namespace: str,
    clock: FakeClock,
    name: str,
    value: dict[str, Any],
) -> None:
    assert cycle(tier, namespace, clock.now()) is StoreOutcome.STORED
    tier.settle(namespace, [("cus_1", "t0")], Stamp("e", 1))
    damage(client, table, f"{namespace}|cus_1", name, value)
    tier.read(namespace, [Slot("cus_1", key_of(namespace))])
    outcome = cycle(tier, namespace, clock.now())
    if name == "h":
        assert outcome is StoreOutcome.REFUSED, "the holds may have been those of a write in flight"
        clock.advance(protocol.HOLD_SECONDS + 1)
        outcome = cycle(tier, namespace, clock.now())
    assert outcome is StoreOutcome.STORED
    assert tier.read(namespace, [Slot("cus_1", key_of(namespace))])[0].stored is not None


@pytest.mark.parametrize("name", RECORD_ATTRIBUTES)
@pytest.mark.parametrize("change", [NO_HOLD, HoldChange(add="w@9999999999"), HoldChange(remove="w@9999999999")])
def test_a_record_with_nonsense_in_it_is_voided_all_the_same(
    *, tier: DynamoDBTier, client: Any, table: str, namespace: str, name: str, change: HoldChange
) -> None:
    tier.touch(namespace, ["cus_1"], "before", HOUR)
    assert tier.store(key_of(namespace), "before", stored_of(), HOUR) is StoreOutcome.STORED
    damage(client, table, f"{namespace}|cus_1", name, {"BOOL": True})
    assert tier.void(namespace, ["cus_1"], "after", change) == ["cus_1"]
    reading = tier.read(namespace, [Slot("cus_1", key_of(namespace))])[0]
    assert reading.stored is None
    assert reading.generation not in {None, "before"}
    (state,), _ = tier.touch(namespace, ["cus_1"], "later", HOUR)
    assert change.add in {"", *state.holds}


@pytest.mark.parametrize("hold", ["w@9999999999", f"{'w' * 99}@9999999999"], ids=["fits", "has no room"])
def test_an_item_that_is_full_of_holds_is_voided_and_held_all_the_same(
    tier: DynamoDBTier, client: Any, table: str, namespace: str, hold: str
) -> None:
    """As they may be after an outage in which none could be taken away."""
    tier.touch(namespace, ["cus_1"], "before", HOUR)
    place = {"TableName": table, "Key": {"pk": {"S": f"{namespace}|cus_1"}}, "UpdateExpression": "ADD h :h"}

    def crowd(step: int) -> None:
        for start in range(0, 50_000, step):
            holds = [f"{step:04}-{start + number:06}@9999999999" for number in range(step)]
            client.update_item(**place, ExpressionAttributeValues={":h": {"SS": holds}})

    for step in (1000, 100, 10, 1):
        with pytest.raises(client.exceptions.ClientError, match="size"):
            crowd(step)
    assert tier.void(namespace, ["cus_1"], "after", HoldChange(add=hold)) == ["cus_1"]
    ((state,), _) = tier.touch(namespace, ["cus_1"], "later", HOUR)
    assert state.generation != "before"
    assert hold in state.holds
    assert len(state.holds) == 2, "the write's, and one in place of the others"


def test_a_fill_that_began_before_the_damage_is_refused_after_the_repair(
    tier: DynamoDBTier, client: Any, table: str, namespace: str, meter: RecordingMeter
) -> None:
    """The new generation is what refuses it: nobody knows what was voided while the item said nonsense."""
    (leased,), _ = tier.touch(namespace, ["cus_1"], "leased", HOUR)
    damage(client, table, f"{namespace}|cus_1", "n", {"S": "nonsense"})
    (repaired,), _ = tier.touch(namespace, ["cus_1"], "leased", HOUR)
    assert repaired.generation != leased.generation
    assert repaired.stamp is None
    assert tier.store(key_of(namespace), leased.generation, stored_of(), HOUR) is StoreOutcome.REFUSED
    assert tier.read(namespace, [Slot("cus_1", key_of(namespace))]) == [Reading(repaired.generation, None)]
    assert meter.counts[metrics.CORRUPT_ENTRY, "dynamodb"] == 1


def test_a_claim_on_nonsense_makes_the_record_anew(tier: DynamoDBTier, client: Any, table: str, namespace: str) -> None:
    tier.touch(namespace, ["cus_1"], "t1", HOUR)
    damage(client, table, f"{namespace}|cus_1", "c", {"S": "nonsense"})
    assert tier.claim(key_of(namespace), "t1", "me", 5.0) is Claim.GONE
    (state,), _ = tier.touch(namespace, ["cus_1"], "t2", HOUR)
    assert state.generation not in {"t1", "t2"}
    assert tier.claim(key_of(namespace), state.generation, "me", 5.0) is Claim.MINE


@pytest.mark.parametrize(
    ("name", "value"),
    # Any text would be an epoch.
    [(name, value) for name in "end" for value in ({"S": ""}, {"BOOL": True}, {"N": "-3"})],
    ids=str,
)
def test_a_counter_with_nonsense_in_it_begins_another_epoch(
    *, tier: DynamoDBTier, client: Any, table: str, namespace: str, name: str, value: dict[str, Any]
) -> None:
    before = tier.count(namespace, started=1, finished=1)
    damage(client, table, f"{namespace}|#", name, value)
    read = tier.count(namespace)
    assert read.epoch != before.epoch
    damage(client, table, f"{namespace}|#", name, value)
    written = tier.count(namespace, started=1)
    assert written.epoch not in {before.epoch, read.epoch}
    assert written.started == 1
    assert tier.touch(namespace, ["cus_1"], "t", HOUR)[1] == written


def test_a_void_succeeds_though_ended_holds_cannot_be_taken_away_now(
    tier: DynamoDBTier, client: Any, namespace: str, clock: FakeClock
) -> None:
    ended = f"dead@{int(clock.now() - protocol.HOLD_SECONDS)}"
    tier.void(namespace, ["cus_1"], "t1", HoldChange(add=ended))
    refused: list[str] = []

    def refuse(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        if not params["UpdateExpression"].startswith("DELETE"):
            return params
        refused.append(params["UpdateExpression"])
        return {**params, "ConditionExpression": "?"}

    hold = "a@9999999999"
    client.meta.events.register("provide-client-params.dynamodb.UpdateItem", refuse)
    try:
        assert tier.void(namespace, ["cus_1"], "t2", HoldChange(add=hold)) == ["cus_1"]
    finally:
        client.meta.events.unregister("provide-client-params.dynamodb.UpdateItem", refuse)
    assert refused
    ((state,), _) = tier.touch(namespace, ["cus_1"], "later", HOUR)
    assert {*state.holds} == {ended, hold}
    tier.void(namespace, ["cus_1"], "t3", HoldChange(add=hold))
    ((state,), _) = tier.touch(namespace, ["cus_1"], "later", HOUR)
    assert {*state.holds} == {hold}
