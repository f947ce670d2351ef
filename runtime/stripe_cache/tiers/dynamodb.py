"""The DynamoDB tier: one item per record, so that every step on a record is one atomic write.

    pk    "namespace|record"           exp   when DynamoDB may delete the item, epoch seconds
    g     generation                   e, n  stamp; absent while unsettled
    h     string set of holds          v     map of variant -> value, see codec.py

The counter is the item "namespace|#": e, n, d. Reads are strongly consistent, because a generation read from a lagging
replica would let a dead value pass. DynamoDB deletes expired items days late, so every value carries its own end too.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stripe_cache.core.errors import CorruptEntryError, TableError, TierError
from stripe_cache.core.metrics import CORRUPT_ENTRY
from stripe_cache.core.ports import Counter, Reading, Stamp, State, StoreOutcome
from stripe_cache.core.protocol import LEASE_TTL, new_token
from stripe_cache.tiers import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.entry import Stored
    from stripe_cache.core.key import Key
    from stripe_cache.core.ports import HoldChange, Meter, Slot

PARTITION_KEY = "pk"
TTL_ATTRIBUTE = "exp"
COUNTER_TTL = 30 * 86400
MAX_ITEM_BYTES = 400 * 1024
"""DynamoDB's limit on an item, attribute names included."""
_ITEM_OVERHEAD = 4096
_OTHER_KEYS = ("does not match the schema", "required keys was not given", "conditions on the keys is invalid")
"""How DynamoDB says that a table has other keys: the service, then DynamoDB Local in two ways."""
_BATCH = 100
"""Keys that one BatchGetItem takes."""


class DynamoDBTier:
    """Keeps entries in a DynamoDB table. Thread-safe: botocore clients are.

    `connect` makes the client on first use; it must carry its own deadlines. No control-plane call is ever made.
    """

    name = "dynamodb"

    def __init__(self, connect: Callable[[], Any], table: str, clock: Clock, meter: Meter) -> None:
        self._connect = connect
        self._connected: Any = None
        self._table = table
        self._clock = clock
        self._meter = meter

    def read(self, namespace: str, slots: Sequence[Slot]) -> list[Reading]:
        """Read with one GetItem, or one BatchGetItem per 100 records; strongly consistent."""
        items = self._get(namespace, slots)
        return [self._reading(items.get(_pk(namespace, record)), key) for record, key in slots]

    def touch(self, namespace: str, records: Sequence[str], token: str, ttl: float) -> tuple[list[State], Counter]:
        """Read the records, make or prolong those that need it, one write each, and then read the counter."""
        until = int(self._clock.now() + ttl)
        items = self._states(namespace, records)
        states = []
        for record in records:
            item = items.get(_pk(namespace, record))
            if item is None or "g" not in item or int(item[TTL_ATTRIBUTE]["N"]) < until:
                # Twice the time asked for, so that the next touches find enough and need no write.
                item = self._make(namespace, record, token, int(until + max(ttl, LEASE_TTL)))
            states.append(_state(item))
        return states, self.count(namespace)

    def settle(self, namespace: str, generations: Sequence[tuple[str, str]], stamp: Stamp) -> None:
        """Stamp generations that still stand unsettled, one write each."""
        values = {":e": {"S": stamp.epoch}, ":n": {"N": str(stamp.number)}}
        for record, generation in generations:
            self._update(
                _pk(namespace, record),
                "SET e = :e, n = :n",
                {**values, ":g": {"S": generation}},
                condition="g = :g AND attribute_not_exists(n)",
            )

    def store(self, key: Key, generation: str, stored: Stored, ttl: float) -> StoreOutcome:
        """Store with one conditional write; siblings that would not fit beside the value leave the item."""
        raw = codec.encode(stored, key.binding)
        if len(raw) + _ITEM_OVERHEAD > MAX_ITEM_BYTES:
            return StoreOutcome.TOO_LARGE
        pk = _pk(key.namespace, key.record)
        until = {"N": str(int(self._clock.now() + ttl))}
        values = {":x": until, ":g": {"S": generation}}
        try:
            item = self._update(
                pk,
                "SET v.#v = :b, exp = :x",
                {**values, ":b": {"B": raw}},
                names={"#v": key.variant},
                condition="g = :g",
            )
        except _ItemTooLargeError:
            only_this = {"M": {key.variant: {"B": raw}}}
            item = self._update(pk, "SET v = :v, exp = :x", {**values, ":v": only_this}, condition="g = :g")
        return StoreOutcome.REFUSED if item is None else StoreOutcome.STORED

    def void(self, namespace: str, records: Sequence[str], token: str, change: HoldChange) -> list[str]:
        """Void with one write per record."""
        present = []
        for record in records:
            values: dict[str, Any] = {":g": {"S": token}, ":v": {"M": {}}}
            update = "SET g = :g, v = :v"
            if change.add:
                update += ", exp = :x"
                values[":x"] = {"N": str(int(self._clock.now() + LEASE_TTL))}
            update += " REMOVE e, n"
            for verb, hold in (("ADD", change.add), ("DELETE", change.remove)):
                if hold:
                    update += f" {verb} h :{verb}"
                    values[f":{verb}"] = {"SS": [hold]}
            condition = "" if change.add else "attribute_exists(g)"
            if self._update(_pk(namespace, record), update, values, condition=condition) is not None:
                present.append(record)
        return present

    def count(self, namespace: str, *, started: int = 0, finished: int = 0) -> Counter:
        """Read the counter with one read, or add to it with one write."""
        pk = _pk(namespace, "#")
        if not started and not finished:
            item = self._states(namespace, ["#"]).get(pk)
            if item is not None:
                return _counter(item)
        item = self._update(
            pk,
            "SET e = if_not_exists(e, :e), exp = :x ADD n :n, d :d",
            {
                ":e": {"S": new_token()},
                ":x": {"N": str(int(self._clock.now() + COUNTER_TTL))},
                ":n": {"N": str(started)},
                ":d": {"N": str(finished)},
            },
        )
        return _counter(item or {})

    def _make(self, namespace: str, record: str, token: str, until: int) -> dict[str, Any]:
        item = self._update(
            _pk(namespace, record),
            "SET g = if_not_exists(g, :g), v = if_not_exists(v, :v), exp = :x",
            {":g": {"S": token}, ":v": {"M": {}}, ":x": {"N": str(until)}},
        )
        return item or {}

    def _reading(self, item: dict[str, Any] | None, key: Key | None) -> Reading:
        if item is None or "g" not in item:
            return Reading(None, None)
        generation = item["g"]["S"]
        value = item.get("v", {}).get("M", {}).get(key.variant) if key else None
        if value is None or key is None:
            return Reading(generation, None)
        try:
            return Reading(generation, codec.decode(value.get("B", b""), key.binding))
        except CorruptEntryError:
            self._meter.count(CORRUPT_ENTRY, tier=self.name)
            return Reading(generation, None)

    def _get(self, namespace: str, slots: Sequence[Slot]) -> dict[str, dict[str, Any]]:
        if len(slots) == 1 and (key := slots[0].key) is not None:
            item = self._get_one(_pk(namespace, slots[0].record), "pk, g, v.#v", {"#v": key.variant})
            return {item["pk"]["S"]: item} if item else {}
        if all(slot.key is None for slot in slots):
            return self._states(namespace, [slot.record for slot in slots])
        # One projection serves a whole batch, and the variants differ: whole items it is. The price is the same, since
        # DynamoDB charges for the item and not for what is projected.
        return self._get_batch([_pk(namespace, slot.record) for slot in slots], "pk, g, v")

    def _states(self, namespace: str, records: Sequence[str]) -> dict[str, dict[str, Any]]:
        projection = "pk, g, e, n, d, h, exp"
        pks = [_pk(namespace, record) for record in records]
        if len(pks) == 1:
            item = self._get_one(pks[0], projection, {})
            return {pks[0]: item} if item else {}
        return self._get_batch(pks, projection)

    def _get_one(self, pk: str, projection: str, names: dict[str, str]) -> dict[str, Any] | None:
        extra = {"ExpressionAttributeNames": names} if names else {}
        with self._translated():
            answer = self._client().get_item(
                TableName=self._table,
                Key={PARTITION_KEY: {"S": pk}},
                ConsistentRead=True,
                ProjectionExpression=projection,
                **extra,
            )
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def _get_batch(self, pks: Sequence[str], projection: str) -> dict[str, dict[str, Any]]:
        wanted = sorted(set(pks))
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(wanted), _BATCH):
            keys = [{PARTITION_KEY: {"S": pk}} for pk in wanted[start : start + _BATCH]]
            request = {self._table: {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": projection}}
            with self._translated():
                answer = self._client().batch_get_item(RequestItems=request)
            if answer.get("UnprocessedKeys"):
                # An unread generation must not pass for an absent one, and waiting is not a cache's business.
                raise TierError("dynamodb: the table is throttled: BatchGetItem left keys unprocessed")
            found |= {item["pk"]["S"]: item for item in answer["Responses"].get(self._table, [])}
        return found

    def _update(
        self,
        pk: str,
        update: str,
        values: dict[str, Any],
        *,
        names: dict[str, str] | None = None,
        condition: str = "",
    ) -> dict[str, Any] | None:
        """Write, and return the new item without its values; None if the condition did not hold."""
        extra: dict[str, Any] = {"ConditionExpression": condition} if condition else {}
        if names:
            extra["ExpressionAttributeNames"] = names
        with self._translated():
            client = self._client()
            try:
                answer = client.update_item(
                    TableName=self._table,
                    Key={PARTITION_KEY: {"S": pk}},
                    UpdateExpression=update,
                    ExpressionAttributeValues=values,
                    ReturnValues="NONE" if condition else "ALL_NEW",
                    **extra,
                )
            except client.exceptions.ConditionalCheckFailedException:
                return None
        item: dict[str, Any] = answer.get("Attributes", {})
        return item

    def _client(self) -> Any:
        # Two threads may both connect; either client serves, and the other is garbage.
        if self._connected is None:
            self._connected = self._connect()
        return self._connected

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise self._translate(error) from error
        except BotoCoreError as error:
            raise TierError(f"dynamodb: {type(error).__name__}: {error}") from error

    def _translate(self, error: Any) -> TierError | TableError:
        code, text = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        if code == "ResourceNotFoundException":
            return TableError(
                f"DynamoDB has no table {self._table!r} here: deploy the store stack, or correct STRIPE_CACHE_TABLE"
            )
        if code == "ValidationException" and any(words in text.lower() for words in _OTHER_KEYS):
            return TableError(
                f"the keys of DynamoDB table {self._table!r} are not ours: it needs the partition key "
                f"{PARTITION_KEY!r} (String) and no sort key"
            )
        if code == "ValidationException" and "size" in text.lower():
            return _ItemTooLargeError(f"dynamodb: {text}")
        return TierError(f"dynamodb: {code}: {text}")


class _ItemTooLargeError(TierError):
    """The item with its other variants would pass DynamoDB's limit."""


def _pk(namespace: str, record: str) -> str:
    return f"{namespace}|{record}"


def _state(item: dict[str, Any]) -> State:
    stamp = Stamp(item["e"]["S"], int(item["n"]["N"])) if "n" in item else None
    return State(item["g"]["S"], stamp, tuple(item.get("h", {}).get("SS", ())))


def _counter(item: dict[str, Any]) -> Counter:
    return Counter(item["e"]["S"], int(item["n"]["N"]), int(item["d"]["N"]))
