"""What an item of the table says, checked like any input, and how one that says nonsense is made anew.

Whoever else writes to the table can leave an attribute of another type than ours. The item is then worth nothing: it is
reset as if it had been lost, under a generation (or for the counter, an epoch) never used before. That is what the
protocol allows for at any moment. Holds that cannot be read may have been those of a write in flight; one that lasts as
long takes their place.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from stripe_cache.core.errors import TierError
from stripe_cache.core.ports import Counter, HoldChange, Stamp, State
from stripe_cache.core.protocol import kept_holds, new_hold, new_token
from stripe_cache.tiers.dynamodb_table import DamagedItemError, ItemTooLargeError

if TYPE_CHECKING:
    from stripe_cache.tiers.dynamodb_table import Table

_LONGEST_NUMBER = 19

log = logging.getLogger("stripe_cache")


def state(item: dict[str, Any]) -> State:
    """Read generation, stamp and holds; raises DamagedItemError for what this package never writes."""
    stamp = Stamp(text(item, "e"), number(item, "n")) if "n" in item else None
    return State(text(item, "g"), stamp, holds(item))


def holds(item: dict[str, Any]) -> tuple[str, ...]:
    """Read the holds; raises DamagedItemError as `state` does."""
    if "h" not in item:
        return ()
    if not isinstance(item["h"].get("SS"), list):
        raise DamagedItemError("dynamodb: attribute 'h' is none that this package writes")
    return tuple(item["h"]["SS"])


def counter(item: dict[str, Any]) -> Counter:
    """Read a namespace's counter; raises DamagedItemError as `state` does."""
    return Counter(text(item, "e"), number(item, "n"), number(item, "d"))


def text(item: dict[str, Any], name: str) -> str:
    """Read a text; raises DamagedItemError as `state` does."""
    found = item.get(name, {}).get("S")
    if not isinstance(found, str) or not found:
        raise DamagedItemError(f"dynamodb: attribute {name!r} is none that this package writes")
    return found


def number(item: dict[str, Any], name: str) -> int:
    """Read a whole number that is not negative; raises DamagedItemError as `state` does."""
    found = item.get(name, {}).get("N", "")
    if not found.isdecimal() or len(found) > _LONGEST_NUMBER:
        raise DamagedItemError(f"dynamodb: attribute {name!r} is none that this package writes")
    return int(found)


def reset(table: Table, pk: str, until: int, held: set[str] | None = None) -> State:
    """Make a record anew, with nothing in it; `held` replaces its holds, None leaves them. One write."""
    values: dict[str, Any] = {":g": {"S": new_token()}, ":e": {"M": {}}, ":x": {"N": str(until)}}
    update = "SET g = :g, v = :e, c = :e, exp = :x"
    if held is not None:
        update += ", h = :h"
        values[":h"] = {"SS": sorted(held)}
    return state(table.update(pk, f"{update} REMOVE e, n", values) or {})


def tidy(table: Table, pk: str, item: dict[str, Any], added: str, now: float) -> None:
    """Rid the item of holds that `kept_holds` does not keep, in up to two writes; `item` is as found after a void.

    Only what was found is taken away: what others add meanwhile stays. If it cannot be done now, the next write does;
    raises ItemTooLargeError if there is no room to do it.
    """
    found = {*holds(item)}
    kept = kept_holds(found, HoldChange(add=added), now)
    try:
        # One that stands for many is there before they go.
        for verb, some in (("ADD", kept - found), ("DELETE", found - kept)):
            if some:
                table.update(pk, f"{verb} h :h", {":h": {"SS": sorted(some)}}, condition="attribute_exists(g)")
    except ItemTooLargeError:
        raise
    except TierError:
        log.debug("the ended holds of %s stay until its next write", pk, exc_info=True)


def reset_state(table: Table, pk: str, item: dict[str, Any] | None, until: int, now: float) -> State:
    """Make a record anew of which `item` was read; holds that can be read stay."""
    try:
        holds(item or {})
    except DamagedItemError:
        return reset(table, pk, until, {new_hold(now)})
    return reset(table, pk, until)


def reset_counter(table: Table, pk: str, until: int, started: int, finished: int) -> Counter:
    """Begin another epoch. One write."""
    item = table.update(
        pk,
        "SET e = :e, n = :n, d = :d, exp = :x",
        {
            ":e": {"S": new_token()},
            ":n": {"N": str(started)},
            ":d": {"N": str(finished)},
            ":x": {"N": str(until)},
        },
    )
    return counter(item or {})
