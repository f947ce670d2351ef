"""A sample read handler, as a team would write it: what may this customer use?

It is ordinary Stripe code. The only line that knows of the cache is the one that makes the client.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import stripe

from stripe_cache.handlers.container import container, metered

if TYPE_CHECKING:
    from collections.abc import Iterator

CUSTOMER_ID = re.compile(r"cus_[A-Za-z0-9]{1,64}")


@metered
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Answer GET /entitlements/{customer} (HTTP API v2 or Function URL, path parameter or query `customer`)."""
    given = (event.get("pathParameters") or {}) | (event.get("queryStringParameters") or {})
    customer_id = given.get("customer") or ""
    if not CUSTOMER_ID.fullmatch(customer_id):
        return _answer(400, {"error": f"{customer_id[:40]!r} is no customer id: it looks like cus_123"}, ())
    client = container().client()
    try:
        customer = client.v1.customers.retrieve(customer_id)
        if getattr(customer, "deleted", False):
            return _answer(404, {"error": f"{customer_id} was deleted"}, [customer])
        subscriptions = client.v1.subscriptions.list(
            params={"customer": customer_id, "status": "active", "expand": ["data.latest_invoice"]}
        )
        prices = {
            name: client.v1.prices.retrieve(name, params={"expand": ["product"]}) for name in _prices(subscriptions)
        }
    except stripe.InvalidRequestError as error:
        return _answer(404, {"error": str(error.user_message)}, ())
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
            for subscription in subscriptions.data
            for item in subscription["items"].data
        ],
    }
    return _answer(200, body, [customer, subscriptions, *prices.values()])


def _prices(subscriptions: Any) -> Iterator[str]:
    return iter(sorted({item.price.id for one in subscriptions.data for item in one["items"].data}))


def _product_name(price: stripe.Price) -> str:
    # Expanded above; the SDK's type allows the bare id as well.
    return price.product if isinstance(price.product, str) else price.product.name


def _answer(status: int, body: dict[str, Any], sources: Any) -> dict[str, Any]:
    told = [one.last_response.headers.get("cache-status", "") for one in sources if one.last_response]
    headers = {"content-type": "application/json", **({"cache-status": ", ".join(told)} if told else {})}
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}
