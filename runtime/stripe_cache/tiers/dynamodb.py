"""The DynamoDB tier: one item per record, so that every step on a record is one atomic write.

    pk    "namespace|record"           exp   when DynamoDB may delete the item, epoch seconds
    g     generation                   e, n  stamp; absent while unsettled
    h     string set of holds          v     map of variant -> value, see codec.py
    c     map of variant -> who is asking the origin for it, and until when

The counter is the item "namespace|#": e, n, d. Reads are strongly consistent, because a generation read from a lagging
replica would let a dead value pass. DynamoDB deletes expired items days late, so every value carries its own end too.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

from stripe_cache.core.errors import CorruptEntryError, KeyUnavailableError
from stripe_cache.core.metrics import CORRUPT_ENTRY
from stripe_cache.core.ports import Claim, Reading, StoreOutcome
from stripe_cache.core.protocol import LEASE_TTL, new_hold, new_token
from stripe_cache.core.sealing import UNSEALED
from stripe_cache.tiers import codec, dynamodb_items
from stripe_cache.tiers.dynamodb_claims import TableClaims
from stripe_cache.tiers.dynamodb_table import DamagedItemError, ItemTooLargeError, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.entry import Stored
    from stripe_cache.core.key import Key
    from stripe_cache.core.ports import Counter, HoldChange, Meter, Slot, Stamp, State
    from stripe_cache.core.sealing import Sealer

Item = TypeVar("Item")
Result = TypeVar("Result")

TTL_ATTRIBUTE = "exp"
COUNTER_TTL = 30 * 86400
MAX_ITEM_BYTES = 400 * 1024
"""DynamoDB's limit on an item, attribute names included."""
_ITEM_OVERHEAD = 4096
_PARALLEL = 8
"""Writes of one step under way at once; idle threads wait in the pool and do nothing between steps."""


class DynamoDBTier:
    """Keeps entries in a DynamoDB table. Thread-safe: botocore clients are.

    `connect` makes the client on first use; it must carry its own deadlines. No control-plane call is ever made.
    """

    name = "dynamodb"

    def __init__(
        self, connect: Callable[[], Any], table: str, clock: Clock, meter: Meter, sealer: Sealer = UNSEALED
    ) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._pool_pid = 0
        self._table = Table(connect, table)
        self._claims = TableClaims(self._table, clock)
        self._clock = clock
        self._meter = meter
        self._sealer = sealer

    def read(self, namespace: str, slots: Sequence[Slot]) -> list[Reading]:
        """Read with one GetItem, or one BatchGetItem per 100 records; strongly consistent."""
        items = self._get(namespace, slots)
        return [self._reading(items.get(_pk(namespace, record)), key) for record, key in slots]

    def touch(self, namespace: str, records: Sequence[str], token: str, ttl: float) -> tuple[list[State], Counter]:
        """Read the records, make or prolong those that need it, one write each, and then read the counter."""
        until = int(self._clock.now() + ttl)
        items = self._states(namespace, records)

        # Twice the time asked for, so that the next touches find enough and need no write.
        longer = int(until + max(ttl, LEASE_TTL))

        def ensure(record: str) -> State:
            item = items.get(_pk(namespace, record))
            try:
                if item is None or "g" not in item or dynamodb_items.number(item, TTL_ATTRIBUTE) < until:
                    item = self._make(namespace, record, token, longer)
                return dynamodb_items.state(item)
            except DamagedItemError:
                self._meter.count(CORRUPT_ENTRY, tier=self.name)
                return dynamodb_items.reset_state(self._table, _pk(namespace, record), item, longer, self._clock.now())

        return self._each(ensure, records), self.count(namespace)

    def settle(self, namespace: str, generations: Sequence[tuple[str, str]], stamp: Stamp) -> None:
        """Stamp generations that still stand unsettled, one write each."""
        values = {":e": {"S": stamp.epoch}, ":n": {"N": str(stamp.number)}}

        def stamped(one: tuple[str, str]) -> None:
            record, generation = one
            self._table.update(
                _pk(namespace, record),
                "SET e = :e, n = :n",
                {**values, ":g": {"S": generation}},
                condition="g = :g AND attribute_not_exists(n)",
            )

        self._each(stamped, generations)

    def store(self, key: Key, generation: str, stored: Stored, ttl: float) -> StoreOutcome:
        """Store with one conditional write; siblings that would not fit beside the value leave the item."""
        try:
            raw = self._sealer.seal(codec.encode(stored, key.binding), key)
        except KeyUnavailableError:
            return StoreOutcome.UNSEALED
        if len(raw) + _ITEM_OVERHEAD > MAX_ITEM_BYTES:
            return StoreOutcome.TOO_LARGE
        pk = _pk(key.namespace, key.record)
        until = {"N": str(int(self._clock.now() + ttl))}
        values = {":x": until, ":g": {"S": generation}}
        try:
            item = self._table.update(
                pk,
                "SET v.#v = :b, exp = :x REMOVE c.#v",
                {**values, ":b": {"B": raw}},
                names={"#v": key.variant},
                condition="g = :g",
            )
        except ItemTooLargeError:
            only_this = {"M": {key.variant: {"B": raw}}}
            item = self._table.update(
                pk,
                "SET v = :v, exp = :x REMOVE c.#v",
                {**values, ":v": only_this},
                names={"#v": key.variant},
                condition="g = :g",
            )
        except DamagedItemError:
            self._reset(pk)
            return StoreOutcome.REFUSED
        return StoreOutcome.REFUSED if item is None else StoreOutcome.STORED

    def void(self, namespace: str, records: Sequence[str], token: str, change: HoldChange) -> list[str]:
        """Void with one write per record, and tidy its holds when one is added."""
        values: dict[str, Any] = {":g": {"S": token}, ":e": {"M": {}}}
        update = "SET g = :g, v = :e, c = :e"
        if change.add:
            update += ", exp = :x"
            values[":x"] = {"N": str(int(self._clock.now() + LEASE_TTL))}
        update += " REMOVE e, n"
        for verb, hold in (("ADD", change.add), ("DELETE", change.remove)):
            if hold:
                update += f" {verb} h :{verb}"
                values[f":{verb}"] = {"SS": [hold]}
        condition = "" if change.add else "attribute_exists(g)"

        def voided(record: str) -> bool:
            pk = _pk(namespace, record)
            try:
                item = self._table.update(pk, update, values, condition=condition)
                if item is not None and change.add:
                    dynamodb_items.tidy(self._table, pk, item, change.add, self._clock.now())
            except (DamagedItemError, ItemTooLargeError):
                # Only the holds can be in the way: all else is replaced.
                held = {new_hold(self._clock.now()), change.add} - {""}
                self._reset(pk, held)
                return True
            return item is not None

        return [record for record, present in zip(records, self._each(voided, records), strict=True) if present]

    def count(self, namespace: str, *, started: int = 0, finished: int = 0) -> Counter:
        """Read the counter with one read, or add to it with one write."""
        pk = _pk(namespace, "#")
        try:
            return self._counted(namespace, pk, started, finished)
        except DamagedItemError:
            self._meter.count(CORRUPT_ENTRY, tier=self.name)
            until = int(self._clock.now() + COUNTER_TTL)
            return dynamodb_items.reset_counter(self._table, pk, until, started, finished)

    def _counted(self, namespace: str, pk: str, started: int, finished: int) -> Counter:
        if not started and not finished:
            item = self._states(namespace, ["#"]).get(pk)
            if item is not None:
                return dynamodb_items.counter(item)
        item = self._table.update(
            pk,
            "SET e = if_not_exists(e, :e), exp = :x ADD n :n, d :d",
            {
                ":e": {"S": new_token()},
                ":x": {"N": str(int(self._clock.now() + COUNTER_TTL))},
                ":n": {"N": str(started)},
                ":d": {"N": str(finished)},
            },
        )
        return dynamodb_items.counter(item or {})

    def claim(self, key: Key, generation: str, token: str, seconds: float) -> Claim:
        """Claim as `TableClaims` does."""
        pk = _pk(key.namespace, key.record)
        try:
            return self._claims.claim(pk, key.variant, generation, token, seconds)
        except DamagedItemError:
            self._reset(pk)
            return Claim.GONE

    def release(self, key: Key, generation: str, token: str, seconds: float) -> None:
        """Turn the claim into a notice with one conditional write."""
        self._claims.release(_pk(key.namespace, key.record), key.variant, generation, token, seconds)

    def _reset(self, pk: str, held: set[str] | None = None) -> None:
        self._meter.count(CORRUPT_ENTRY, tier=self.name)
        dynamodb_items.reset(self._table, pk, int(self._clock.now() + LEASE_TTL), held)

    def _each(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Do the same for every item, several at a time: in turn they would add up to a Stripe call's own latency."""
        if len(items) <= 1:
            return [work(item) for item in items]
        # Two threads may both make a pool; either serves. A forked child has its parent's pool without the threads.
        if self._pool is None or self._pool_pid != os.getpid():
            self._pool_pid = os.getpid()
            self._pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="stripe-cache-dynamodb")
        # Every one is waited for, also after a failure: nothing of this step may happen after the step.
        futures = [self._pool.submit(work, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]

    def _make(self, namespace: str, record: str, token: str, until: int) -> dict[str, Any]:
        item = self._table.update(
            _pk(namespace, record),
            "SET g = if_not_exists(g, :g), v = if_not_exists(v, :e), c = if_not_exists(c, :e), exp = :x",
            {":g": {"S": token}, ":e": {"M": {}}, ":x": {"N": str(until)}},
        )
        return item or {}

    def _reading(self, item: dict[str, Any] | None, key: Key | None) -> Reading:
        if item is None or "g" not in item:
            return Reading(None, None)
        generation = item["g"].get("S")
        if generation is None:
            return Reading(None, None)
        value = item.get("v", {}).get("M", {}).get(key.variant) if key else None
        if value is None or key is None:
            return Reading(generation, None)
        try:
            return Reading(generation, codec.decode(self._sealer.open(value.get("B", b""), key), key.binding))
        except KeyUnavailableError:
            return Reading(generation, None)
        except CorruptEntryError:
            self._meter.count(CORRUPT_ENTRY, tier=self.name)
            return Reading(generation, None)

    def _get(self, namespace: str, slots: Sequence[Slot]) -> dict[str, dict[str, Any]]:
        if len(slots) == 1 and (key := slots[0].key) is not None:
            item = self._table.get(_pk(namespace, slots[0].record), "pk, g, v.#v", {"#v": key.variant})
            return {item["pk"]["S"]: item} if item else {}
        if all(slot.key is None for slot in slots):
            return self._states(namespace, [slot.record for slot in slots])
        # One projection serves a whole batch, and the variants differ: whole items it is. The price is the same, since
        # DynamoDB charges for the item and not for what is projected.
        return self._table.get_many([_pk(namespace, slot.record) for slot in slots], "pk, g, v")

    def _states(self, namespace: str, records: Sequence[str]) -> dict[str, dict[str, Any]]:
        projection = "pk, g, e, n, d, h, exp"
        pks = [_pk(namespace, record) for record in records]
        if len(pks) == 1:
            item = self._table.get(pks[0], projection, {})
            return {pks[0]: item} if item else {}
        return self._table.get_many(pks, projection)


def _pk(namespace: str, record: str) -> str:
    return f"{namespace}|{record}"
