"""Erasing a customer from the stores, as a Lambda of its own: only its role may scan the table.

Invoke it with `{"customer": "cus_1"}` and, optionally, `account`, `terms` (an e-mail address, a name), `dry_run` and
`cursor`. As long as the report has a cursor, invoke it again with that.
"""

from __future__ import annotations

from typing import Any

from stripe_cache.core.errors import RequestError
from stripe_cache.handlers.container import container, metered

MARGIN_MILLISECONDS = 15_000
"""What one more page, with its invalidation in every tier, may take."""


@metered
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Purge page by page while there is time; return the report. Raises RequestError and InvalidationError."""
    terms, account = event.get("terms") or [], event.get("account") or None
    if not isinstance(event.get("customer"), str):
        raise RequestError('the payload names no customer: pass {"customer": "cus_123"}')
    if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
        raise RequestError("`terms` must be a list of strings")
    report = container().cache.purge(
        event["customer"],
        account=account,
        terms=terms,
        dry_run=bool(event.get("dry_run")),
        cursor=str(event.get("cursor") or ""),
        may_go_on=lambda: context.get_remaining_time_in_millis() > MARGIN_MILLISECONDS,
    )
    return report.as_dict()
