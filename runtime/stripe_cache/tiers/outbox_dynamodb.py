"""The outbox as items of the cache's table, within the rights that the tier has anyway: GetItem and UpdateItem.

    pk "namespace|#outbox<0-7>"   q   string set of entries, each JSON with a random word       exp
    pk "namespace|#outbox*"       g   a random word: Redis missed so much that all of it is void  exp

A table without a sort key cannot list its items, so an outbox has a fixed few. A set takes and gives up entries in
one write each without a look at the others: two writers, or two replayers, or one of each never lose one. A write
costs units for the whole item; the bounds keep it to some 20 KB as a rule and under DynamoDB's 400 KB always.

Nobody could find the items of every connected account there is: their entries lie in the operator's own (`home`), each
saying which namespace it is about. Whoever replays that one replays them all.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stripe_cache.core.errors import RequestError, TierError
from stripe_cache.core.outbox import COLLAPSED, OUTBOX_TTL, Missed, decoded, encoded
from stripe_cache.core.protocol import new_token
from stripe_cache.core.replay import Entry
from stripe_cache.tiers.dynamodb_table import ItemTooLargeError, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.clock import Clock

SHARDS = 8
MOST_PER_SHARD = 120
_MOST_PER_PUT = 60
"""Entries that one call may add: more than any event of Stripe's makes. With the bound before it and the size of an
entry they stay under 400 KB."""
_CHARACTERS_PER_ENTRY = 1200
_ALL = "*"


class DynamoDBOutbox:
    """Keeps what tiers missed. `connect` makes the client on first use; one write per entry put in."""

    tier = "dynamodb"

    def __init__(
        self, connect: Callable[[], Any], table: str, clock: Clock, home: Callable[[str], str] = lambda own: own
    ) -> None:
        """`home` names the namespace in whose items the entries of another one lie."""
        self._table = Table(connect, table)
        self._clock = clock
        self._home = home

    def put(self, missed: Missed) -> None:
        """Add it to one of the items; a full one makes it everything in the namespace, if only Redis missed it.

        Not for a connected account: there would be one more item to find. Raises TierError.
        """
        home = self._home(missed.namespace)
        texts = [] if missed.is_everything else list(_entries(missed))
        until = {"N": str(int(self._clock.now() + OUTBOX_TTL))}
        if 0 < len(texts) <= _MOST_PER_PUT:
            with suppress(ItemTooLargeError):
                put = self._table.update(
                    _pk(home, str(secrets.randbelow(SHARDS))),
                    "SET exp = :x ADD q :q",
                    {":x": until, ":q": {"SS": texts}, ":most": {"N": str(MOST_PER_SHARD)}},
                    condition="attribute_not_exists(q) OR size(q) < :most",
                )
                if put is not None:
                    return
        if missed.tiers != COLLAPSED or missed.namespace != home:
            raise TierError(f"dynamodb: the outbox of {home} is full")
        self._table.update(_pk(home, _ALL), "SET g = :g, exp = :x", {":g": {"S": new_token()}, ":x": until})

    def entries(self, namespace: str) -> list[Entry]:
        """Read all items in one call. An entry that cannot be read stands for everything that Redis may have missed."""
        namespace = self._home(namespace)
        pks = [_pk(namespace, name) for name in (*map(str, range(SHARDS)), _ALL)]
        found = []
        for pk, item in sorted(self._table.get_many(pks, "pk, q, g").items()):
            if pk == pks[-1] and "g" in item:
                found.append(Entry(Missed(namespace, (), COLLAPSED), item["g"].get("S", "")))
            for text in item.get("q", {}).get("SS", ()) if pk != pks[-1] else ():
                try:
                    missed = decoded(text)
                except RequestError:
                    missed = Missed(namespace, (), COLLAPSED)
                found.append(Entry(missed, f"{pk.rpartition('#outbox')[2]} {text}"))
        return found

    def forget(self, namespace: str, entries: Sequence[Entry]) -> None:
        """Remove them with one write per item that held some."""
        namespace = self._home(namespace)
        by_shard: dict[str, list[str]] = {}
        for one in entries:
            shard, space, text = one.handle.partition(" ")
            if space:
                by_shard.setdefault(shard, []).append(text)
            else:
                # What was missed after this word was read has put another one in its place.
                self._table.update(_pk(namespace, _ALL), "REMOVE g", {":g": {"S": shard}}, condition="g = :g")
        for shard, texts in by_shard.items():
            # The condition keeps a replayer that comes second from making an item that never ends.
            self._table.update(
                _pk(namespace, shard), "DELETE q :q", {":q": {"SS": texts}}, condition="attribute_exists(q)"
            )


def _entries(missed: Missed) -> list[str]:
    """Cut the records into entries of a bounded size, each with a word of its own."""
    texts: list[str] = []
    names: list[str] = []
    length = 0
    for name in missed.records:
        if names and length + len(name) > _CHARACTERS_PER_ENTRY:
            texts.append(_entry(missed, names))
            names, length = [], 0
        names.append(name)
        length += len(name) + 3
    return [*texts, _entry(missed, names)]


def _entry(missed: Missed, names: list[str]) -> str:
    part = Missed(missed.namespace, tuple(names), missed.tiers, missed.cause)
    # Two entries that say the same are two: the second may have been put in after the first was told.
    return json.dumps(json.loads(encoded(part)) | {"id": new_token()}, separators=(",", ":"))


def _pk(namespace: str, name: str) -> str:
    return f"{namespace}|#outbox{name}"
