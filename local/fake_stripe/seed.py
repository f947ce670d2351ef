"""A data set in bulk: products with prices, and customers with a card, a subscription and a paid invoice each."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from local.fake_stripe import billing, shapes

if TYPE_CHECKING:
    from local.fake_stripe.store import Body, Space

_FIRST = [
    "Ada",
    "Ben",
    "Chidi",
    "Dana",
    "Emil",
    "Fay",
    "Goro",
    "Hana",
    "Ines",
    "Jun",
    "Kofi",
    "Lena",
    "Mika",
    "Nora",
    "Omar",
    "Priya",
    "Quinn",
    "Rosa",
    "Sami",
    "Tess",
]
_LAST = [
    "Abe",
    "Berg",
    "Costa",
    "Diaz",
    "Eriksen",
    "Fofana",
    "Gupta",
    "Haas",
    "Ito",
    "Jansen",
    "Kim",
    "Lopez",
    "Moreau",
    "Nkosi",
    "Okafor",
    "Park",
    "Rossi",
    "Silva",
]
_CITIES = ["Berlin", "Dublin", "Lagos", "Lima", "Osaka", "Porto", "Pune", "Quito", "Tunis", "Utrecht"]
_PLANS = ["Starter", "Team", "Business", "Enterprise", "Archive", "Support"]


def plant(space: Space, *, customers: int, products: int, seed: int) -> dict[str, list[str]]:
    """Create the data set without events and return the ids by kind, in the order of creation.

    The same seed in an empty scope gives the same ids and values; only the time of creation differs.
    """
    space.reseed(seed)
    draw = random.Random(seed)
    ids: dict[str, list[str]] = {kind: [] for kind in ("products", "prices", "customers", "subscriptions", "invoices")}
    for number in range(products):
        product = _store(space, "product", _product(draw, number))
        price = _store(space, "price", _price(draw, product["id"], number))
        space.put({**product, "default_price": price["id"]})
        ids["products"].append(product["id"])
        ids["prices"].append(price["id"])
    for number in range(customers):
        customer = _store(space, "customer", _customer(draw, number))
        card = _store(space, "payment_method", {"customer": customer["id"]})
        defaults = {**customer["invoice_settings"], "default_payment_method": card["id"]}
        space.put({**customer, "invoice_settings": defaults})
        ids["customers"].append(customer["id"])
        if not ids["prices"]:
            continue
        sent = {"customer": customer["id"], "items": [{"price": draw.choice(ids["prices"])}]}
        subscription, invoice = billing.new_subscription(space, {**sent, "metadata": {"tenant": f"tenant-{number}"}})
        space.put(invoice)
        space.put(subscription)
        for item in subscription["items"]["data"]:
            space.put(item)
        ids["subscriptions"].append(subscription["id"])
        ids["invoices"].append(invoice["id"])
    space.begin_log()
    return ids


def _store(space: Space, kind: str, fields: dict[str, Any]) -> Body:
    body = shapes.base(space, kind, fields)
    space.put(body)
    return body


def _product(draw: random.Random, number: int) -> dict[str, Any]:
    name = f"{_PLANS[number % len(_PLANS)]} {number // len(_PLANS) + 1}"
    features = [{"name": f"{draw.randint(1, 500)} seats"}, {"name": "Single sign-on"}, {"name": "Audit log"}]
    words = f"The {name} plan, billed every month, with everything a team of its size needs."
    return {"name": name, "description": words, "marketing_features": features, "metadata": {"tier": str(number)}}


def _price(draw: random.Random, product: str, number: int) -> dict[str, Any]:
    amount = draw.randrange(500, 50_000, 100)
    known = {"product": product, "unit_amount": amount, "currency": "usd", "recurring": {"interval": "month"}}
    return {**known, "lookup_key": f"plan-{number}", "nickname": f"Monthly {number}"}


def _customer(draw: random.Random, number: int) -> dict[str, Any]:
    first, last = draw.choice(_FIRST), draw.choice(_LAST)
    address = {
        "city": draw.choice(_CITIES),
        "country": "DE",
        "line1": f"{draw.randint(1, 200)} {last} Street",
        "line2": None,
        "postal_code": f"{draw.randrange(10_000, 99_999)}",
        "state": None,
    }
    name = f"{first} {last}"
    return {
        "name": name,
        "shipping": {"address": address, "name": name, "phone": ""},
        "email": f"{first}.{last}.{number}@example.com".lower(),
        "phone": f"+49301{draw.randrange(100_000, 999_999)}",
        "address": address,
        "description": f"Customer number {number} of the seeded data set",
        "metadata": {"tenant": f"tenant-{number}", "region": draw.choice(["eu-central-1", "us-east-1"])},
        "preferred_locales": ["en"],
        "currency": "usd",
    }
