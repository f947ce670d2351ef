"""A storm: processes read, write and apply events through real tiers while everything around them goes wrong.

What each thread does is a function of the seed; when it does it is not, because the machine decides that. The verdict
needs no luck: every answer is held against the history the fake Stripe kept.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consistency.storm_faults import Faults
from consistency.storm_verdict import Deed, Record

from local.workers import WorkerDiedError, WorkerPool

if TYPE_CHECKING:
    from local.dynamodb import DynamoDB
    from local.fake_stripe.client import FakeStripe

NAMESPACE = "acct_storm"
MAX_LAG = 0.5
THREADS = 4
PROCESSES = 8
CUSTOMERS = 10
OVERTAKEN = 0.6
"""How often a thread plays the scene that everything here is about, instead of chance."""
LIST = "/v1/customers?limit=3"
SECONDS_EACH = 1.5
"""For how long a customer is one of the two that everything is about."""
AT_ONCE = 4
IN_A_ROW = 4
"""What a process does at once, on as many threads; and how much in an invocation on each."""


@dataclass
class Storm:
    """One run. `seed` makes the program; `seconds` bounds it."""

    dynamodb: DynamoDB
    stripe: FakeStripe
    seed: int
    seconds: float
    takeovers: bool = False
    """Whether lagging replicas of Redis take over: then not everything is promised."""
    planted: str = ""
    """Which bug is planted in the processes, see `storm_worker.py`."""
    deeds: list[Deed] = field(default_factory=list)
    tally: Tally[str] = field(default_factory=Tally)

    def run(self) -> Record:
        """Let it rage; return what a verdict needs."""
        with Faults(self.dynamodb, self.tally, takeovers=self.takeovers) as self.faults:
            return self._rage()

    def _rage(self) -> Record:
        table = self.dynamodb.create_table()
        ids = self.stripe.seed(customers=CUSTOMERS)
        self.stripe.configure(
            # Calls of very different lengths: one is overtaken by an invalidation and by the next call, whose answer
            # would else soon hide that the late one was stored.
            latency={"factor": 1.0, "low": 5.0, "high": 2500.0},
            faults=[{"kind": "error", "probability": 0.02, "after": True}, {"kind": "drop", "probability": 0.01}],
        )
        about = {one: [f"/v1/customers/{one}", LIST] for one in ids["customers"]}
        for one in ids["subscriptions"]:
            about[self.stripe.truth(f"/v1/subscriptions/{one}")["customer"]].append(
                f"/v1/subscriptions/{one}?expand[0]=customer"
            )
        environment = {
            **self.dynamodb.environment(),
            "STRIPE_CACHE_NAMESPACE": NAMESPACE,
            "STRIPE_CACHE_REDIS_URL": self.faults.redis_url,
            "STRIPE_CACHE_TABLE": table,
            "STRIPE_CACHE_API_BASE": self.stripe.url,
            "STRIPE_CACHE_EVENTS": "on",
            "STRIPE_CACHE_MEMORY_MAX_LAG": str(MAX_LAG),
            "STRIPE_CACHE_REDIS_TIMEOUT": "0.4",
            "STRIPE_CACHE_DYNAMODB_TIMEOUT": "1",
        }
        if self.planted:
            environment["STORM_PLANTED"] = self.planted
        with WorkerPool(PROCESSES, "consistency.storm_worker:handler", environment) as pool:
            pool.warm()
            until = time.monotonic() + self.seconds
            threads = [
                threading.Thread(target=self._live, args=(f"{self.seed}-{n}", pool, about, until))
                for n in range(THREADS)
            ]
            threads.append(threading.Thread(target=self.faults.rage, args=(str(self.seed), pool, until)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        paths = sorted({path for some in about.values() for path in some})
        return Record(self.seed, MAX_LAG, self.deeds, self.stripe.histories(paths, bodies=True), self.faults.takeovers)

    def _live(self, name: str, pool: WorkerPool, about: dict[str, list[str]], until: float) -> None:
        drawn = random.Random(name)  # noqa: S311 (a seed must reproduce it)
        pending: list[dict[str, Any]] = []
        shared, own = sorted(about)[THREADS:], sorted(about)[int(name.rpartition("-")[2])]
        serial = 0
        while time.monotonic() < until:
            if drawn.random() < OVERTAKEN:
                serial += 1
                self._overtake(drawn, pool, own, about[own], f"tag-{name}-{serial}-")
                continue
            deeds: list[dict[str, Any]] = []
            # All about few objects: whoever is overtaken is overtaken by something that concerns it. They change:
            # a write that is lost keeps an object from being cached for longer than any storm.
            now = int((until - time.monotonic()) / SECONDS_EACH)
            customer = shared[(now + drawn.randrange(2)) % len(shared)]
            for _ in range(IN_A_ROW * AT_ONCE):
                serial += 1
                deeds += self._next(drawn, f"tag-{name}-{serial}-", customer, about[customer], pending)
            self._do(pool, deeds)

    def _next(
        self,
        drawn: random.Random,
        tag: str,
        customer: str,
        paths: list[str],
        pending: list[dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """Return what one thread of a process is to do next, once or twice or not at all."""
        kind = drawn.choices(["read", "write", "change", "event"], [80, 2, 8, 10])[0]
        if kind == "read":
            return [{"do": "read", "path": drawn.choice(paths)}]
        if kind == "write":
            return [{"do": "write", "id": customer, "tag": tag}]
        if kind == "change":
            body = self.stripe.mutate(f"/v1/customers/{customer}", name=tag)
            pending.append(_event_of(tag, body))
        elif pending:
            # Reordered, and then lost, told once, or told twice.
            told = pending.pop(drawn.randrange(len(pending)))
            times = drawn.choices([0, 1, 2], [1, 6, 1])[0]
            self.tally["events lost"] += times == 0
            return [told] * times
        return []

    def _overtake(self, drawn: random.Random, pool: WorkerPool, customer: str, paths: list[str], tag: str) -> None:
        """Let an event overtake a call to Stripe, about an object of this thread's own, and look what is left of it.

        Where all read the same, the next call's answer mostly hides in time that a late one was stored.
        """
        others = [path for path in paths[1:] if path != LIST]
        read = {"do": "read", "path": drawn.choice([*[paths[0]] * 4, *others[:1]])}
        before = tag.replace("tag", "before")
        self._do(pool, [_event_of(before, self.stripe.mutate(f"/v1/customers/{customer}", name=before))])
        reader = threading.Thread(target=self._do, args=(pool, [read]))
        reader.start()
        threading.Event().wait(drawn.uniform(0.2, 0.6))
        self._do(pool, [_event_of(tag, self.stripe.mutate(f"/v1/customers/{customer}", name=tag))])
        reader.join()
        self._do(pool, [read, read])
        self.tally["calls overtaken"] += 1

    def _do(self, pool: WorkerPool, deeds: list[dict[str, Any]]) -> None:
        if not deeds:
            return
        try:
            result = pool.invoke({"deeds": deeds, "threads": AT_ONCE}, timeout=30.0)
        except WorkerDiedError:
            result = None
        answers = [None] * len(deeds) if result is None or result.error is not None else result.payload
        for deed, answer in zip(deeds, answers, strict=True):
            failed = answer is None or "error" in answer
            self.tally[f"{deed['do']}s without an answer" if failed else f"{deed['do']}s"] += 1
            # A write that ended in an error has voided all it touches: if it was performed, that is a promise too.
            if answer is not None and (not failed or deed["do"] == "write"):
                self.deeds.append(Deed(deed["do"], deed.get("path", ""), deed.get("tag", ""), answer))


def _event_of(tag: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the deed of telling a process that a customer has changed; `tag` is in what it was changed to."""
    event = {"id": f"evt_{body['name']}", "object": "event", "type": "customer.updated", "livemode": False}
    return {"do": "event", "tag": tag, "event": {**event, "created": 0, "data": {"object": body}}}
