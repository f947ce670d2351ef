"""The stage of a run: real servers on loopback, and the objects that everybody reads."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.request import Request, urlopen

import redis

from local.dynamodb import DynamoDB
from local.fake_stripe.client import FakeStripe
from local.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable

    import stripe
    from mypy_boto3_dynamodb import DynamoDBClient

API_KEY = "sk_test_benchmark"
OBJECTS = 8
"""Different objects that each contender reads in turn."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Objects of one kind and size, and how they are asked for."""

    name: str
    collection: str
    ids: tuple[str, ...]
    expand: tuple[str, ...] = ()

    def id(self, index: int) -> str:
        """Return the id of the n-th object; they repeat."""
        return self.ids[index % len(self.ids)]

    def path(self, index: int) -> str:
        """Return the path of the n-th object."""
        return f"/v1/{self.collection}/{self.id(index)}"

    @property
    def params(self) -> dict[str, Any]:
        """Return the parameters as the SDK takes them."""
        return {"expand": list(self.expand)} if self.expand else {}

    def target(self, index: int) -> str:
        """Return path and query of the n-th object, spelled as the SDK sends them."""
        query = "&".join(f"expand[{number}]={field}" for number, field in enumerate(self.expand))
        return f"{self.path(index)}?{query}" if query else self.path(index)

    def through(self, client: stripe.StripeClient) -> Callable[[int], Any]:
        """Return a read of the n-th object through an SDK client."""
        service: Any = getattr(client.v1, self.collection)
        params = self.params
        return lambda index: service.retrieve(self.id(index), params)


class Stage:
    """Valkey, DynamoDB Local and the fake Stripe, running until closed."""

    def __init__(self) -> None:
        self._exits = ExitStack()
        try:
            self.valkey = self._exits.enter_context(Valkey(maxmemory="256mb"))
            self.dynamodb = self._exits.enter_context(DynamoDB())
            self.stripe = self._exits.enter_context(FakeStripe())
            # boto3 is made inside the cache, from the environment, as in a Lambda.
            os.environ.update(self.dynamodb.environment())
            self.table = self.dynamodb.create_table()
            self.shapes = _shapes(self.stripe)
        except BaseException:
            self.close()
            raise

    def redis(self) -> redis.Redis:
        """Return a client with the protocol the cache speaks, and redis-py's defaults otherwise."""
        return redis.Redis(host=self.valkey.host, port=self.valkey.port, protocol=2)

    def boto(self) -> DynamoDBClient:
        """Return a DynamoDB client."""
        return self.dynamodb.client()

    def bodies(self, shape: Shape) -> dict[str, bytes]:
        """Fetch the origin's answers by target."""
        found = {}
        for index in range(len(shape.ids)):
            request = Request(self.stripe.url + shape.target(index), headers={"Authorization": f"Bearer {API_KEY}"})  # noqa: S310 -- loopback
            with urlopen(request, timeout=10) as response:  # noqa: S310 -- loopback
                found[shape.target(index)] = response.read()
        return found

    def close_origin(self) -> None:
        """End the fake Stripe: from now on nothing can be answered but from a cache."""
        self.stripe.stop()

    def close(self) -> None:
        """End all servers."""
        self._exits.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _shapes(origin: FakeStripe) -> tuple[Shape, ...]:
    ids = origin.seed(customers=OBJECTS)
    for number, customer in enumerate(ids["customers"]):
        # What teams keep there; it brings the answer to the 1.4 KB that a real one has.
        notes = {f"crm_{name}": f"{name}-{number:08d}-of-the-account" for name in ("id", "owner", "segment", "plan")}
        origin.mutate(f"/v1/customers/{customer}", metadata=notes)
    return (
        Shape("customer", "customers", tuple(ids["customers"])),
        Shape("subscription", "subscriptions", tuple(ids["subscriptions"]), ("customer", "latest_invoice")),
    )
