"""Answers what a customer is called, from the nearest tier that knows."""

from typing import Any

from stripe_cache import StripeCache

cache = StripeCache.from_env()


def handler(event: dict[str, str], _context: Any) -> dict[str, Any]:
    """Read one customer; Stripe is called only when no tier has it."""
    customer = cache.get(f"/v1/customers/{event['customer']}")
    return {"name": customer.data.get("name"), "cache": str(customer.status)}
