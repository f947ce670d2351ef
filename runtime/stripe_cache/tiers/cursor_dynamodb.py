"""The cursor as one more item of the cache's table: `pk` "namespace|#cursor", `c` the cursor, `exp` its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stripe_cache.core.cursor import CURSOR_RECORD, CURSOR_TTL
from stripe_cache.tiers.dynamodb_table import Table

if TYPE_CHECKING:
    from collections.abc import Callable


class DynamoDBCursors:
    """Keeps cursors with one GetItem and one UpdateItem each."""

    def __init__(self, connect: Callable[[], Any], table: str) -> None:
        self._table = Table(connect, table)

    def load(self, namespace: str) -> str | None:
        """Read with a strongly consistent read."""
        item = self._table.get(_pk(namespace), "c", {})
        return item["c"]["S"] if item and "c" in item else None

    def save(self, namespace: str, text: str, now: float) -> None:
        """Write cursor and end."""
        values = {":c": {"S": text}, ":x": {"N": str(int(now + CURSOR_TTL))}}
        self._table.update(_pk(namespace), "SET c = :c, exp = :x", values)


def _pk(namespace: str) -> str:
    return f"{namespace}|{CURSOR_RECORD}"
