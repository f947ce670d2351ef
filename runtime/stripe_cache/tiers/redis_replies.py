"""What Redis replies, checked like any input: somebody else may write to the same server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stripe_cache.core.errors import TierError
from stripe_cache.core.ports import Counter, Stamp, State

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST_FIELD, _LONGEST_NUMBER = 65536, 19


def state(fields: Sequence[bytes | None]) -> State:
    """Read generation, stamp and holds of a record; raises TierError for what this package never writes."""
    generation, stamp, holds = (text(field) if field is not None else "" for field in fields)
    epoch, _, settled = stamp.rpartition(":")
    return State(generation, Stamp(epoch, number(settled)) if stamp else None, tuple(holds.split(",")) if holds else ())


def counter(fields: Sequence[bytes | None]) -> Counter:
    """Read a namespace's counter; raises TierError as `state` does."""
    epoch, started, finished = (text(field) for field in fields)
    return Counter(epoch, number(started), number(finished))


def flag(reply: object) -> bool:
    """Read a script's yes or no; raises TierError as `state` does: whoever says OK to a void has not voided."""
    if not isinstance(reply, int) or reply not in {0, 1}:
        raise TierError("redis: a script answered what it never says")
    return bool(reply)


def text(field: bytes | None) -> str:
    """Read a short ASCII text; raises TierError as `state` does."""
    if field is None or len(field) > _LONGEST_FIELD or not field.isascii():
        raise TierError("redis: a field holds what this package never writes")
    return field.decode()


def number(digits: str) -> int:
    """Read a whole number that is not negative; raises TierError as `state` does."""
    if not digits.isdecimal() or len(digits) > _LONGEST_NUMBER:
        raise TierError("redis: a field that should be a number is none")
    return int(digits)
