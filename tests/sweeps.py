"""An account's events, a cursor and a clock, for the tests of the sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stripe_cache import Settings
from stripe_cache.core.errors import InvalidationError
from stripe_cache.core.policy import Policy
from stripe_cache.core.reconcile import LONGEST_WINDOW, EventGoneError, EventsUnavailableError, Reconciler, Sweep
from stripe_cache.wiring import build

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

NOW = 1_800_000_000.0
FIRST_WINDOW = min(Policy.default().longest_life(events=False), LONGEST_WINDOW)


class Bench:
    """An account's events in the order Stripe lists them, a cursor in a variable, and a clock that is set.

    What Stripe promises about pages is all that is modelled; the handlers' tests run against the fake's own list.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[dict[str, Any]] = []
        self.kept: str | None = None
        self.now_ = NOW
        self.asked: list[Mapping[str, Any]] = []
        self.voided: list[list[str]] = []
        self.counts: dict[str, float] = {}
        self.fail_at = -1
        self.crash = ""
        self.engine = build(Settings(namespace="acct_1"), clock=self, meter=self)
        invalidate = self.engine.invalidator.invalidate

        def record(namespace: str, records: Sequence[str], *rest: Any, **options: Any) -> dict[str, int]:
            if self.crash == "applying" and self.voided:
                raise InvalidationError(tuple(records), {}, {"redis": "down"})
            self.voided.append(list(records))
            return invalidate(namespace, records, *rest, **options)

        monkeypatch.setattr(self.engine.invalidator, "invalidate", record)

    def now(self) -> float:
        return self.now_

    def monotonic(self) -> float:
        return self.now_

    def count(self, metric: str, value: float = 1, **_: str) -> None:
        self.counts[metric] = self.counts.get(metric, 0) + value

    def observe(self, metric: str, milliseconds: float, **_: str) -> None:
        self.counts[metric] = milliseconds

    def load(self, namespace: str) -> str | None:
        assert namespace == "acct_1.test"
        return self.kept

    def save(self, namespace: str, text: str, now: float) -> None:
        assert (namespace, now) == ("acct_1.test", self.now_)
        if self.crash == "saving":
            raise RuntimeError("killed")
        self.kept = text

    def happen(self, count: int, *, age: float = 0.0, customer: str = "") -> list[str]:
        """Let customers change, each `age` seconds ago; the newest event comes first in the list."""
        made = []
        for _ in range(count):
            number = len(self.events)
            body = {"object": "customer", "id": customer or f"cus_{number}"}
            event = {"id": f"evt_{number}", "object": "event", "type": "customer.updated", "data": {"object": body}}
            self.events.insert(0, event | {"created": int(self.now_ - age), "livemode": False})
            made.append(body["id"])
        return made

    def list_events(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(params)
        if len(self.asked) == self.fail_at:
            raise EventsUnavailableError("429")
        created = params.get("created", {})
        found = [
            event
            for event in self.events
            if created.get("gte", 0) <= event["created"] < created.get("lt", NOW * 2)
            and ("delivery_success" not in params or event.get("undelivered"))
        ]
        limit, ids = params["limit"], [event["id"] for event in found]
        if "ending_before" in params:
            if params["ending_before"] not in ids:
                raise EventGoneError("No such event")
            end = ids.index(params["ending_before"])
            return {"data": found[max(0, end - limit) : end], "has_more": end > limit}
        start = 0
        if "starting_after" in params:
            start = ids.index(params["starting_after"]) + 1
        return {"data": found[start : start + limit], "has_more": len(found) > start + limit}

    def sweep(self, calls: int = 10) -> Sweep:
        self.asked, self.voided = [], []
        return Reconciler(self.engine, self, self.list_events, "acct_1.test", account=None).run(calls)

    def objects(self) -> set[str]:
        return {name for step in self.voided for name in step if name.startswith("cus_")}
