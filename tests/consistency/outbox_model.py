"""A table and a queue as values, under the real outboxes: what of them keeps the entries, and no more.

A write of an item is one step. A batch of reads is one step per item: DynamoDB promises no snapshot of several.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from consistency import queued
from consistency.model import reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from consistency.actors import Actor, World
    from consistency.processes import Site

TABLE, QUEUE = "table", "queue"
_GENUINE = {"ResponseMetadata": {"RequestId": "1"}}
_EVERYTHING = "*"
_REFUSED = "refused"


class _RefusedError(Exception):
    """A condition did not hold."""


class ModelTable:
    """A DynamoDB client in one actor's hands that knows the outbox's items; it lives where the DynamoDB tier does."""

    exceptions = SimpleNamespace(ConditionalCheckFailedException=_RefusedError)

    def __init__(self, actor: Actor, most: int) -> None:
        self._actor = actor
        self._most = most

    def batch_get_item(self, **call: Any) -> dict[str, Any]:
        (request,) = call["RequestItems"].values()
        assert request["ConsistentRead"]
        pks = [key["pk"]["S"] for key in request["Keys"]]
        found = [item for one in self._items() for item in self._read([pk for pk in pks if _name(pk) in one])]
        return {"Responses": dict.fromkeys(call["RequestItems"], found), **_GENUINE}

    def update_item(self, **call: Any) -> dict[str, Any]:
        pk, expression = call["Key"]["pk"]["S"], call["UpdateExpression"]
        effect, label = _UPDATES[expression, call.get("ConditionExpression", "")]
        values = {name: next(iter(value.values())) for name, value in call["ExpressionAttributeValues"].items()}
        done = partial(effect, process=self._actor.name, place=f"{TABLE} {_name(pk)}", values=values)
        if reach(self._actor, "dynamodb", f"{label} {_name(pk)} in the {TABLE}", done) == _REFUSED:
            raise _RefusedError
        return {"Attributes": {}, **_GENUINE}

    def _items(self) -> list[tuple[str, ...]]:
        # Where nothing collapses, the item for everything cannot be told from one that is never there.
        return [(_EVERYTHING,), ("0",)] if self._most == 1 else [(_EVERYTHING, "0")]

    def _read(self, pks: list[str]) -> list[dict[str, Any]]:
        names = " and ".join(map(_name, pks))
        items = reach(self._actor, "dynamodb", f"read {names} in the {TABLE}", partial(self._at, pks=tuple(pks)))
        return [
            {"pk": {"S": pk}, **({"g": {"S": held[0]}} if _name(pk) == _EVERYTHING else {"q": {"SS": [*held]}})}
            for pk, held in items
        ]

    def _at(self, world: World, pks: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        places = [(pk, world.get(("kept", f"{TABLE} {_name(pk)}"), ())) for pk in pks]
        return tuple((pk, held) for pk, held in places if held)


def _name(pk: str) -> str:
    return pk.rpartition("#outbox")[2]


def _add(world: World, process: str, place: str, values: dict[str, Any]) -> str:
    held = world.get(("kept", place), ())
    if len(held) >= int(values[":most"]):
        return _REFUSED
    world["kept", place] = tuple(sorted({*held, *values[":q"]}))
    queued.kept(world, process, place, values[":q"])
    return ""


def _put_in_place(world: World, process: str, place: str, values: dict[str, Any]) -> str:
    """Keep these entries, whatever stood there: what `ADD` is for is that this is never sent."""
    world["kept", place] = tuple(sorted(values[":q"]))
    queued.kept(world, process, place, values[":q"])
    return ""


def _collapse(world: World, process: str, place: str, values: dict[str, Any]) -> str:
    old = world.get(("kept", place), ("",))[0]
    world["kept", place] = (values[":g"],)
    queued.replaced(world, process, place, old, values[":g"])
    return ""


def _take_away(world: World, process: str, place: str, values: dict[str, Any]) -> str:
    held = world.get(("kept", place), ())
    gone = values[":q"] if ":q" in values else [values[":g"]]
    if not held or (":g" in values and held != (values[":g"],)):
        return _REFUSED
    _keep(world, place, tuple(entry for entry in held if entry not in gone))
    queued.forgotten(world, process, place, [entry for entry in held if entry in gone])
    return ""


def _take_all(world: World, process: str, place: str, values: dict[str, Any]) -> str:
    del values
    return _take_away(world, process, place, {":q": world.get(("kept", place), ())})


def _keep(world: World, place: str, left: tuple[Any, ...]) -> None:
    world.pop(("kept", place), None)
    if left:
        world["kept", place] = left


_UPDATES: dict[tuple[str, str], tuple[Callable[..., str], str]] = {
    ("SET exp = :x ADD q :q", "attribute_not_exists(q) OR size(q) < :most"): (_add, "put an entry into"),
    ("SET g = :g, exp = :x", ""): (_collapse, "put everything into"),
    ("REMOVE g", "g = :g"): (_take_away, "forget everything in"),
    ("DELETE q :q", "attribute_exists(q)"): (_take_away, "forget entries in"),
    # What only planted bugs send.
    ("SET exp = :x, q = :q", ""): (_put_in_place, "put an entry in place of"),
    ("REMOVE q", "attribute_exists(q)"): (_take_all, "forget all in"),
    ("REMOVE g", "attribute_exists(g)"): (_take_all, "forget whatever is in"),
}


class ModelQueue:
    """An SQS client in one actor's hands: it keeps messages until they are deleted, and gives them to everybody."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def send_message(self, **call: Any) -> dict[str, Any]:
        # Two messages may say the same: a word of its own keeps them two.
        message = f"{self._actor.token()} {call['MessageBody']}"
        reach(self._actor, QUEUE, "send a message", partial(self._send, message=message))
        return {"MessageId": message}

    def receive(self) -> list[dict[str, Any]]:
        """Return the messages as a Lambda gets them; they stay."""
        messages = reach(self._actor, QUEUE, "receive the messages", self._receive)
        return [
            {
                "messageId": message,
                "body": message.partition(" ")[2],
                "attributes": {"ApproximateReceiveCount": str(receipts)},
            }
            for message, receipts in messages
        ]

    def delete(self, message: str) -> None:
        """Take a message away."""
        reach(self._actor, QUEUE, "delete a message", partial(self._delete, message=message))

    def _send(self, world: World, message: str) -> None:
        world["kept", QUEUE] = (*world.get(("kept", QUEUE), ()), message)
        queued.kept(world, self._actor.name, QUEUE, [message])

    def _receive(self, world: World) -> tuple[tuple[str, int], ...]:
        held = world.get(("kept", QUEUE), ())
        assert len(held) <= 1, "whose calls are doomed is known of one message at a time"
        queued.received(world, self._actor.name, QUEUE, held)
        for message in held:
            world["receipts", message] = world.get(("receipts", message), 0) + 1
        return tuple((message, world["receipts", message]) for message in held)

    def _delete(self, world: World, message: str) -> None:
        held = world.get(("kept", QUEUE), ())
        if message in held:
            _keep(world, QUEUE, tuple(one for one in held if one != message))
            queued.deleted(world, self._actor.name, QUEUE, message)
        world.pop(("receipts", message), None)


class ModelScan:
    """A Redis client in one actor's hands that lists names: a page, and a step, for each name there may be."""

    def __init__(self, actor: Actor, site: Site) -> None:
        self._actor = actor
        self._names = site.watched

    def execute_command(self, _: str, cursor: int, *arguments: Any) -> tuple[int, list[bytes]]:
        start = arguments[1].removesuffix("*")
        name = self._names[cursor]
        is_there = reach(self._actor, "redis", f"scan {name} in redis", lambda world: ("redis", name) in world)
        return (cursor + 1) % len(self._names), [f"{start}{name}}}".encode()] if is_there else []
