"""What an answer of the entitlements handler shows of Stripe, read by read, and what each read should have shown.

The handler makes three kinds of reads: the customer, its active subscriptions, and each price with its product. Both
functions reduce a read to the same visible value: one from the handler's answer, one from Stripe's own body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from local.demo.traffic import Sample


class Shown(NamedTuple):
    """One read that an answer is made of: its kind, its path, what the answer shows of it, and the tier it came from.

    `tier` is empty when the origin answered.
    """

    kind: str
    path: str
    value: Hashable
    tier: str


def shown(sample: Sample) -> list[Shown]:
    """Take an answer apart into the reads it is made of; none for a failed request."""
    if sample.failed:
        return []
    body = sample.body
    rights = body["entitlements"]
    parts: list[tuple[str, str, Hashable]] = [
        ("customer", customer_path(sample.customer), (body["name"], body["in_good_standing"])),
        (
            "subscriptions",
            subscriptions_path(sample.customer),
            tuple(sorted((one["subscription"], one["price"], one["until"]) for one in rights)),
        ),
    ]
    prices = {one["price"]: (one["product"], one["amount"]) for one in rights}
    parts += [("price", price_path(price), prices[price]) for price in sorted(prices)]
    # One Cache-Status per read, in this order; without the cache there are some too, and none names a tier.
    tiers = [tier_of(status) for status in sample.cache] or [""] * len(parts)
    return [Shown(*part, tier) for part, tier in zip(parts, tiers, strict=True)]


def expected(kind: str, body: Mapping[str, Any]) -> Hashable:
    """Reduce what Stripe answered to a read to the value that the handler shows of it."""
    if kind == "customer":
        return body["name"], not body["delinquent"]
    if kind == "price":
        return body["product"]["name"], body["unit_amount"]
    items = [(one["id"], item) for one in body["data"] for item in one["items"]["data"]]
    return tuple(sorted((name, item["price"]["id"], item["current_period_end"]) for name, item in items))


def objects(kind: str, body: Mapping[str, Any]) -> set[str]:
    """Return the ids of the objects whose webhooks tell that this read has changed."""
    if kind == "customer":
        return {body["id"]}
    if kind == "price":
        return {body["id"], body["product"]["id"]}
    return {one["id"] for one in body["data"]}


def tier_of(cache_status: str) -> str:
    """Return the tier that a Cache-Status names, empty for anything but a hit."""
    words = [word.strip() for word in cache_status.split(";")]
    if "hit" not in words:
        return ""
    details = [word.removeprefix("detail=").strip('"') for word in words if word.startswith("detail=")]
    return details[0] if details else ""


def customer_path(customer: str) -> str:
    """Return the path of the customer's read."""
    return f"/v1/customers/{customer}"


def subscriptions_path(customer: str) -> str:
    """Return the path of the subscriptions' read, without what its answer expands: the handler shows nothing of it."""
    return f"/v1/subscriptions?customer={customer}&status=active"


def price_path(price: str) -> str:
    """Return the path of a price's read."""
    return f"/v1/prices/{price}?expand[]=product"
