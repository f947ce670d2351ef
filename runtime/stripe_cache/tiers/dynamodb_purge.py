"""Searching the DynamoDB table for what is about somebody: Scan, one megabyte a page, with a role of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stripe_cache.core.errors import TierError
from stripe_cache.core.key import Key
from stripe_cache.core.ports import State
from stripe_cache.core.protocol import is_held
from stripe_cache.core.purge import Page
from stripe_cache.tiers import codec
from stripe_cache.tiers.dynamodb_table import genuine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.purge import Terms
    from stripe_cache.core.sealing import Sealer

_ITEMS = 200


class _ChangedError(TierError):
    """The item is not what it was when it was read."""


class DynamoDBSearch:
    """Searches and forgets; needs dynamodb:Scan and dynamodb:DeleteItem on the table."""

    name = "dynamodb"

    def __init__(self, connect: Callable[[], Any], table: str, clock: Clock, sealer: Sealer) -> None:
        self._connect = connect
        self._connected: Any = None
        self._table = table
        self._clock = clock
        self._sealer = sealer

    def search(self, namespace: str, terms: Terms, cursor: str) -> Page:
        """Look at one Scan page."""
        start = {"ExclusiveStartKey": {"pk": {"S": json.loads(cursor)}}} if cursor else {}
        answer = self._call(
            "scan",
            ConsistentRead=True,
            Limit=_ITEMS,
            FilterExpression="begins_with(pk, :n)",
            ExpressionAttributeValues={":n": {"S": f"{namespace}|"}},
            **start,
        )
        examined, matching, unreadable = 0, set(), set()
        for item in answer["Items"]:
            record = item["pk"]["S"][len(namespace) + 1 :]
            if record.startswith("#"):
                continue
            if terms.name(record):
                matching.add(record)
            for variant, value in item.get("v", {}).get("M", {}).items():
                examined += 1
                key = Key.of(namespace, record, variant)
                try:
                    stored = codec.decode(self._sealer.open(value.get("B", b""), key), key.binding)
                except TierError:
                    unreadable.add(record)
                    continue
                if terms.match(stored):
                    matching.add(record)
        last = answer.get("LastEvaluatedKey", {}).get("pk", {}).get("S")
        following = "" if last is None else json.dumps(last)
        return Page(examined, tuple(sorted(matching)), tuple(sorted(unreadable - matching)), following)

    def forget(self, namespace: str, names: Sequence[str]) -> tuple[str, ...]:
        """Delete the items of records without a hold."""
        busy = []
        now = self._clock.now()
        for name in names:
            key = {"pk": {"S": f"{namespace}|{name}"}}
            item = self._call("get_item", Key=key, ConsistentRead=True, ProjectionExpression="g, h").get("Item")
            if item is None:
                continue
            generation = item.get("g", {}).get("S", "")
            if is_held(State(generation, None, tuple(item.get("h", {}).get("SS", ()))), now):
                busy.append(name)
                continue
            # A write that begins between the two calls has changed the generation.
            if not self._delete(key, generation):
                busy.append(name)
        return tuple(busy)

    def _delete(self, key: dict[str, Any], generation: str) -> bool:
        try:
            self._call("delete_item", Key=key, **_unless_changed(generation))
        except _ChangedError:
            return False
        return True

    def _call(self, operation: str, **arguments: Any) -> Any:
        from botocore.exceptions import ClientError

        try:
            self._connected = self._connected or self._connect()
            return genuine(getattr(self._connected, operation)(TableName=self._table, **arguments))
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            if code == "ConditionalCheckFailedException":
                raise _ChangedError(f"dynamodb: {operation}: {code}") from error
            raise TierError(f"dynamodb: {operation}: {code}") from error
        except Exception as error:
            # Not botocore's own alone: it stumbles over an answer that is no JSON object.
            raise TierError(f"dynamodb: {operation}: {type(error).__name__}") from error


def _unless_changed(generation: str) -> dict[str, Any]:
    if not generation:
        return {"ConditionExpression": "attribute_not_exists(g)"}
    return {"ConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": {"S": generation}}}
