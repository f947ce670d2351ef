"""What happens at Stripe meanwhile: the same changes, in the same order, at both fakes."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from local.demo.traffic import zipf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from local.fake_stripe.client import FakeStripe

EVERY_SECONDS = 0.7
# Most traffic of a billing account is about customers; the product catalogue changes now and then.
SHARES = {"customer": 8, "subscription": 5, "product": 2, "cancel": 1, "subscribe": 2}


class Changes:
    """Changes customers, subscriptions and products until told to stop. Popular customers change more often.

    Every change shows in what the entitlements handler answers, so that a stale answer cannot pass for a fresh one.
    """

    def __init__(self, fakes: Sequence[FakeStripe], ids: dict[str, list[str]], seed: int) -> None:
        self.made: Counter[str] = Counter()
        self.error: Exception | None = None
        self._fakes = fakes
        self._ids = ids
        self._draw = random.Random(seed)
        self._popularity = zipf(len(ids["customers"]))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Make no further change; raises what ended the thread early, if something did."""
        self._stop.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def once(self) -> None:
        """Make one change at every fake."""
        kinds: dict[str, Callable[[int], None]] = {
            "customer": self._rename_customer,
            "subscription": self._switch_price,
            "product": self._rename_product,
            "cancel": self._cancel,
            "subscribe": self._subscribe,
        }
        (kind,) = self._draw.choices(list(SHARES), weights=list(SHARES.values()))
        self.made[kind] += 1
        kinds[kind](sum(self.made.values()))

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self.once()
            except Exception as error:  # noqa: BLE001 -- told by stop(), on the thread that can act on it
                self.error = error
                return

    def _rename_customer(self, number: int) -> None:
        self._everywhere(f"/v1/customers/{self._customer()}", name=f"Customer renamed by change {number}")

    def _rename_product(self, number: int) -> None:
        product = self._draw.choice(self._ids["products"])
        self._everywhere(f"/v1/products/{product}", name=f"Product renamed by change {number}")

    def _switch_price(self, number: int) -> None:
        subscription = self._subscription()
        if subscription is None:
            self._rename_customer(number)
            return
        item = subscription["items"]["data"][0]
        others = [price for price in self._ids["prices"] if price != item["price"]["id"]]
        items = [{"id": item["id"], "price": self._draw.choice(others)}]
        self._everywhere(f"/v1/subscriptions/{subscription['id']}", items=items)

    def _cancel(self, number: int) -> None:
        subscription = self._subscription()
        if subscription is None:
            self._rename_customer(number)
            return
        self._everywhere(f"/v1/subscriptions/{subscription['id']}", "DELETE")

    def _subscribe(self, _: int) -> None:
        items = [{"price": self._draw.choice(self._ids["prices"])}]
        self._everywhere("/v1/subscriptions", customer=self._customer(), items=items)

    def _customer(self) -> str:
        (customer,) = self._draw.choices(self._ids["customers"], cum_weights=self._popularity)
        return customer

    def _subscription(self) -> dict[str, Any] | None:
        """Return an active subscription of some customer, as it is now."""
        listed = self._fakes[0].truth(f"/v1/subscriptions?customer={self._customer()}&status=active")["data"]
        found: dict[str, Any] | None = self._draw.choice(listed) if listed else None
        return found

    def _everywhere(self, path: str, method: str = "POST", /, **form: Any) -> None:
        for fake in self._fakes:
            fake.mutate(path, method, **form)
