"""What goes wrong in a storm: processes freeze and die, servers hang, restart and lose things, a replica takes over."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import redis

from local.valkey import Valkey

if TYPE_CHECKING:
    from collections import Counter as Tally
    from collections.abc import Callable

    from local.dynamodb import DynamoDB
    from local.workers import WorkerPool


class Faults:
    """A Redis of the storm's own, and everything that may happen to it and to the others."""

    def __init__(self, dynamodb: DynamoDB, tally: Tally[str], *, takeovers: bool) -> None:
        self._valkey = Valkey()
        self._dynamodb = dynamodb
        self._tally = tally
        self._with_takeovers = takeovers
        self.takeovers: list[tuple[float, float]] = []
        """When the replica got the last write, and when it had taken over."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._valkey.stop()

    @property
    def redis_url(self) -> str:
        return self._valkey.url

    def rage(self, name: str, pool: WorkerPool, until: float) -> None:
        drawn = random.Random(name)  # noqa: S311 (a seed must reproduce it)
        faults: list[tuple[str, Callable[[random.Random, WorkerPool], None]]]
        faults = [
            ("frozen", self._freeze_process),
            ("frozen", self._freeze_process),
            ("killed", self._kill),
            ("flushed", self._flush),
            ("evicted", self._evict),
            ("evicted", self._evict),
            ("hung", self._hang),
            ("restarted", self._restart),
        ]
        if self._with_takeovers:
            # Rarer losses: what came back is to be met before it is lost again.
            faults = [*faults[:3], ("hung", self._hang), *[("taken over", self._take_over)] * 3]
        deck: list[tuple[str, Callable[[random.Random, WorkerPool], None]]] = []
        while (left := until - time.monotonic()) > 0:
            threading.Event().wait(min(left, drawn.uniform(0.1, 0.8)))
            # Dealt like cards, so that a short storm has each of them too.
            deck = deck or drawn.sample(faults, len(faults))
            name, fault = deck.pop()
            fault(drawn, pool)
            self._tally["faults"] += 1
            self._tally[name] += 1

    def _freeze_process(self, drawn: random.Random, pool: WorkerPool) -> None:
        pid = drawn.choice(pool.workers).pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            threading.Event().wait(drawn.uniform(0.1, 1.5))
            os.kill(pid, signal.SIGCONT)

    def _kill(self, drawn: random.Random, pool: WorkerPool) -> None:
        drawn.choice(pool.workers).kill()

    def _flush(self, _drawn: random.Random, _pool: WorkerPool) -> None:
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()

    def _evict(self, drawn: random.Random, _pool: WorkerPool) -> None:
        with redis.Redis.from_url(self.redis_url) as client:
            keys = sorted(client.keys("*"))
            if keys:
                client.delete(drawn.choice(keys))

    def _hang(self, drawn: random.Random, _pool: WorkerPool) -> None:
        server = drawn.choice([self._valkey, self._dynamodb])
        server.freeze()
        threading.Event().wait(drawn.uniform(0.2, 1.2))
        server.thaw()

    def _restart(self, _drawn: random.Random, _pool: WorkerPool) -> None:
        """Lose everything, and every connection: it keeps nothing on a disk."""
        self._valkey.kill()
        self._valkey = Valkey(port=self._valkey.port)

    def _take_over(self, drawn: random.Random, _pool: WorkerPool) -> None:
        """Put back what was there a moment ago, as a replica does that lagged behind."""
        with redis.Redis.from_url(self.redis_url) as client:
            behind, held = time.time(), self._dumped(client)
            threading.Event().wait(drawn.uniform(0.2, 1.0))
            with client.pipeline(transaction=True) as pipeline:
                pipeline.flushall()
                for key, (body, lifetime) in held.items():
                    pipeline.restore(key, lifetime, body)
                pipeline.execute()
        self.takeovers.append((behind, time.time()))

    def _dumped(self, client: Any) -> dict[bytes, tuple[bytes, int]]:
        keys = client.keys("*")
        with client.pipeline(transaction=True) as pipeline:
            for key in keys:
                pipeline.dump(key)
                pipeline.pttl(key)
            found = pipeline.execute()
        pairs = zip(keys, found[::2], found[1::2], strict=True)
        return {key: (body, max(0, lifetime)) for key, body, lifetime in pairs if body is not None}
