"""Answers what a customer is called, from the nearest tier that knows."""

from typing import Any

from stripe_cache.handlers.container import container, metered


@metered
def handler(event: dict[str, str], _context: Any) -> dict[str, Any]:
    """Read one customer with the attached secret's key; Stripe is called only when no tier has it."""
    customer = container().client().v1.customers.retrieve(event["customer"])
    told = customer.last_response.headers["cache-status"] if customer.last_response else ""
    return {"name": customer.name, "cache": told}
