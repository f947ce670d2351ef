"""A sample read handler, as a team would write it: what may this customer use?

It is ordinary Stripe code. The only lines that know of the cache are the one that makes the client and the one
that tells it when this invocation ends.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import stripe

from stripe_cache.handlers.container import container, metered

if TYPE_CHECKING:
    from collections.abc import Iterable

CUSTOMER_ID = re.compile(r"cus_[A-Za-z0-9]{1,64}")
PAGE = 100
"""Subscriptions per page: the most that Stripe gives."""


@metered
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer GET /entitlements/{customer} (HTTP API v2 or Function URL, path parameter or query `customer`)."""
    given = (event.get("pathParameters") or {}) | (event.get("queryStringParameters") or {})
    customer_id = given.get("customer") or ""
    if not CUSTOMER_ID.fullmatch(customer_id):
        return _answer(400, {"error": f"{customer_id[:40]!r} is no customer id: it looks like cus_123"}, ())
    parts = container()
    parts.cache.begin_invocation(context)
    client = parts.client()
    try:
        customer = _customer(client, customer_id)
        if customer is None:
            return _answer(404, {"error": f"there is no customer {customer_id}"}, ())
        if getattr(customer, "deleted", False):
            return _answer(404, {"error": f"{customer_id} was deleted"}, [customer])
        first = client.v1.subscriptions.list(params={"customer": customer_id, "status": "active", "limit": PAGE})
        # Nearly every customer's fit on the first page, which is cached; pages after it are asked of Stripe.
        subscriptions = list(first.auto_paging_iter())
        prices = {
            name: client.v1.prices.retrieve(name, params={"expand": ["product"]}) for name in _prices(subscriptions)
        }
    except stripe.RateLimitError:
        return _answer(429, {"error": "Stripe is limiting us"}, ())
    except stripe.StripeError as error:
        return _answer(502, {"error": type(error).__name__}, ())
    body = {
        "customer": customer_id,
        "name": customer.name,
        "in_good_standing": not customer.delinquent,
        "entitlements": [
            {
                "subscription": subscription.id,
                "product": _product_name(prices[item.price.id]),
                "price": item.price.id,
                "amount": prices[item.price.id].unit_amount,
                "until": item.current_period_end,
            }
            for subscription in subscriptions
            for item in subscription["items"].data
        ],
    }
    return _answer(200, body, [customer, first, *prices.values()])


def _customer(client: stripe.StripeClient, customer_id: str) -> stripe.Customer | None:
    try:
        return client.v1.customers.retrieve(customer_id)
    except stripe.InvalidRequestError as error:
        # Whatever else Stripe finds wrong with a request is our mistake, and no word about the customer.
        if error.code == "resource_missing":
            return None
        raise


def _prices(subscriptions: Iterable[Any]) -> list[str]:
    return sorted({item.price.id for one in subscriptions for item in one["items"].data})


def _product_name(price: stripe.Price) -> str:
    # Expanded above; the SDK's type allows the bare id as well.
    return price.product if isinstance(price.product, str) else price.product.name


def _answer(status: int, body: dict[str, Any], sources: Any) -> dict[str, Any]:
    told = [one.last_response.headers.get("cache-status", "") for one in sources if one.last_response]
    headers = {"content-type": "application/json", **({"cache-status": ", ".join(told)} if told else {})}
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}
