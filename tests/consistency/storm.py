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
PROCESSES = 5


@dataclass
class Storm:
    """One run. `seed` makes the program; `seconds` bounds it."""

    dynamodb: DynamoDB
    stripe: FakeStripe
    seed: int
    seconds: float
    takeovers: bool = False
    """Whether lagging replicas of Redis take over: then not everything is promised."""
    planted: bool = False
    """Whether a bug is planted in the processes."""
    deeds: list[Deed] = field(default_factory=list)
    tally: Tally[str] = field(default_factory=Tally)

    def run(self) -> Record:
        """Let it rage; return what a verdict needs."""
        with Faults(self.dynamodb, self.tally, takeovers=self.takeovers) as self.faults:
            return self._rage()

    def _rage(self) -> Record:
        table = self.dynamodb.create_table()
        ids = self.stripe.seed(customers=4)
        self.stripe.configure(
            latency={"factor": 1.0, "low": 5.0, "high": 300.0},
            faults=[{"kind": "error", "probability": 0.02, "after": True}, {"kind": "drop", "probability": 0.01}],
        )
        customers = ids["customers"][:4]
        paths = [f"/v1/customers/{one}" for one in customers]
        paths += [f"/v1/subscriptions/{one}?expand[0]=customer" for one in ids["subscriptions"][:6]]
        paths += ["/v1/customers?limit=3"]
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
            environment["STORM_PLANTED"] = "1"
        with WorkerPool(PROCESSES, "consistency.storm_worker:handler", environment) as pool:
            pool.warm()
            until = time.monotonic() + self.seconds
            threads = [
                threading.Thread(target=self._live, args=(f"{self.seed}-{n}", pool, customers, paths, until))
                for n in range(THREADS)
            ]
            threads.append(threading.Thread(target=self.faults.rage, args=(str(self.seed), pool, until)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return Record(self.seed, MAX_LAG, self.deeds, self.stripe.histories(paths, bodies=True), self.faults.takeovers)

    def _live(self, name: str, pool: WorkerPool, customers: list[str], paths: list[str], until: float) -> None:
        drawn = random.Random(name)  # noqa: S311 (a seed must reproduce it)
        pending: list[dict[str, Any]] = []
        serial = 0
        while time.monotonic() < until:
            serial += 1
            kind = drawn.choices(["read", "write", "change", "event"], [70, 6, 6, 12])[0]
            tag = f"tag-{name}-{serial}-"
            if kind == "read":
                self._do(pool, {"do": "read", "path": drawn.choice(paths)})
            elif kind == "write":
                self._do(pool, {"do": "write", "id": drawn.choice(customers), "tag": tag})
            elif kind == "change":
                body = self.stripe.mutate(f"/v1/customers/{drawn.choice(customers)}", name=tag)
                event = {"id": f"evt_{serial}", "object": "event", "type": "customer.updated", "livemode": False}
                pending.append({"do": "event", "tag": tag, "event": {**event, "created": 0, "data": {"object": body}}})
            elif pending:
                # Reordered, and then lost, told once, or told twice.
                told = pending.pop(drawn.randrange(len(pending)))
                times = drawn.choices([0, 1, 2], [1, 6, 1])[0]
                self.tally["events lost"] += times == 0
                for _ in range(times):
                    self._do(pool, told)

    def _do(self, pool: WorkerPool, event: dict[str, Any]) -> None:
        try:
            result = pool.invoke(event, timeout=30.0)
        except WorkerDiedError:
            result = None
        if result is None or result.error is not None or "error" in result.payload:
            self.tally[f"{event['do']}s without an answer"] += 1
            return
        self.tally[f"{event['do']}s"] += 1
        self.deeds.append(Deed(event["do"], event.get("path", ""), event.get("tag", ""), result.payload))
