"""Reads of Stripe per day in DynamoDB, where there is no Redis: the item "namespace|#reads", one number per day."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_cache.tiers.dynamodb_table import Table

_DAY = 86400
_KEPT_DAYS = 70
_CHUNK_DAYS = 35
"""Days are kept in items of this many, so that an item that is always in use still loses its old days."""


class DynamoDBReads:
    """Adds and reads counts. Thread-safe as the table is; raises TierError."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, namespace: str, day: int, reads: int) -> None:
        """Add in one write."""
        gone = (day + _KEPT_DAYS) * _DAY
        self._table.update(
            _pk(namespace, day),
            "SET #x = :gone ADD #d :reads",
            {":gone": {"N": str(gone)}, ":reads": {"N": str(reads)}},
            names={"#x": "exp", "#d": f"d{day}"},
        )

    def by_day(self, namespace: str, days: Sequence[int]) -> dict[int, int]:
        """Read the days' counts, one read per item."""
        found: dict[int, int] = {}
        for pk in sorted({_pk(namespace, day) for day in days}):
            wanted = [day for day in days if _pk(namespace, day) == pk]
            names = {f"#d{day}": f"d{day}" for day in wanted}
            item = self._table.get(pk, ", ".join(names), names) or {}
            found |= {day: int(item[f"d{day}"]["N"]) for day in wanted if f"d{day}" in item}
        return found


def _pk(namespace: str, day: int) -> str:
    return f"{namespace}|#reads{day // _CHUNK_DAYS}"
