"""A storm: processes read, write and apply events through real tiers while everything around them goes wrong.

What each thread does is a function of the seed; when it does it is not, because the machine decides that. The verdict
needs no luck: every answer is held against the history the fake Stripe kept.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import redis

from local.workers import WorkerDiedError, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.dynamodb import DynamoDB
    from local.fake_stripe.client import FakeStripe
    from local.valkey import Valkey

NAMESPACE = "acct_storm"
MAX_LAG = 0.5
THREADS = 4
PROCESSES = 5


@dataclass(frozen=True)
class Deed:
    """Something a process did: what, between when and when, and what it said."""

    kind: str
    path: str
    tag: str
    result: dict[str, Any]


@dataclass
class Storm:
    """One run. `seed` makes the program; `seconds` bounds it."""

    valkey: Valkey
    dynamodb: DynamoDB
    stripe: FakeStripe
    seed: int
    seconds: float
    planted: bool = False
    """Whether a bug is planted in the processes."""
    deeds: list[Deed] = field(default_factory=list)
    tally: Tally[str] = field(default_factory=Tally)

    def run(self) -> list[str]:
        """Let it rage; return the violations."""
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
            "STRIPE_CACHE_REDIS_URL": self.valkey.url,
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
            threads.append(threading.Thread(target=self._rage, args=(str(self.seed), pool, until)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return list(self._violations(paths))

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

    def _rage(self, name: str, pool: WorkerPool, until: float) -> None:
        drawn = random.Random(name)  # noqa: S311 (a seed must reproduce it)
        faults: list[Callable[[random.Random, WorkerPool], None]]
        faults = [
            self._freeze_process,
            self._freeze_process,
            self._kill,
            self._flush,
            self._evict,
            self._evict,
            self._hang,
        ]
        while (left := until - time.monotonic()) > 0:
            threading.Event().wait(min(left, drawn.uniform(0.05, 0.5)))
            drawn.choice(faults)(drawn, pool)
            self.tally["faults"] += 1

    def _freeze_process(self, drawn: random.Random, pool: WorkerPool) -> None:
        pid = drawn.choice(pool.workers).pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            threading.Event().wait(drawn.uniform(0.1, 1.5))
            os.kill(pid, signal.SIGCONT)

    def _kill(self, drawn: random.Random, pool: WorkerPool) -> None:
        drawn.choice(pool.workers).kill()

    def _flush(self, _drawn: random.Random, _pool: WorkerPool) -> None:
        with redis.Redis.from_url(self.valkey.url) as client:
            client.flushall()

    def _evict(self, drawn: random.Random, _pool: WorkerPool) -> None:
        with redis.Redis.from_url(self.valkey.url) as client:
            keys = sorted(client.keys("*"))
            if keys:
                client.delete(drawn.choice(keys))

    def _hang(self, drawn: random.Random, _pool: WorkerPool) -> None:
        server = drawn.choice([self.valkey, self.dynamodb])
        server.freeze()
        threading.Event().wait(drawn.uniform(0.2, 1.2))
        server.thaw()

    def _violations(self, paths: list[str]) -> Iterator[str]:
        histories = self.stripe.histories(paths, bodies=True)
        marks = [deed for deed in self.deeds if deed.kind in {"write", "event"}]
        for path, rows in histories.items():
            first = [(mark, effect) for mark in marks if (effect := _effect(mark, rows)) is not None]
            by_digest = {row["digest"]: row for row in rows}
            for deed in self.deeds:
                if deed.kind == "read" and deed.path == path:
                    yield from self._wrong(deed, by_digest.get(deed.result["digest"]), first)

    def _wrong(self, deed: Deed, row: dict[str, Any] | None, marks: list[tuple[Deed, float]]) -> Iterator[str]:
        read = deed.result
        self.tally[f"answered by {read['tier'].partition(';')[0]}"] += 1
        if row is None or row["since"] > read["ended"]:
            yield f"{deed.path}: an answer that Stripe has not given"
            return
        for mark, effect in marks:
            done = mark.result
            own = done["pid"] == read["pid"]
            if not own and not done["told"]:
                continue
            lag = MAX_LAG if read["tier"].startswith("memory") and not own else 0.0
            if read["began"] < done["ended"] + lag:
                continue
            # The read began after this was confirmed: the answer must have been true at some moment since.
            since = effect if mark.kind == "write" else max(effect, done["began"])
            if row["until"] is not None and row["until"] <= since:
                late = read["began"] - done["ended"]
                yield (
                    f"{deed.path}: {read['tier']} gave process {read['pid']} an answer that had ended "
                    f"{since - row['until']:.3f} s before the {mark.kind} {mark.tag} of process {done['pid']}, "
                    f"which was confirmed {late:.3f} s before the read"
                )


def _effect(mark: Deed, rows: list[dict[str, Any]]) -> float | None:
    """Return when the change took effect on this path; None if it never showed there."""
    return next((row["since"] for row in rows if mark.tag in str(row["body"])), None)
