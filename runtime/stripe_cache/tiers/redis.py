"""The Redis tier: one hash per record, so that a record is one slot of a cluster and every step on it is one command.

    sc1:{namespace|record}   g   generation
                             s   stamp, "epoch:number"; absent while unsettled
                             h   holds, comma-separated; absent when there are none
                             v<variant>   a value, see codec.py
                             c<variant>   who is asking the origin for it, and until when
    sc1:{namespace|#}        e, n, d   the namespace's counter: epoch, started, finished

Every key has a TTL. Scripts declare their one key, use no command that ElastiCache Serverless refuses, and are sent
by digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import redis

from stripe_cache.core.errors import CorruptEntryError, KeyUnavailableError, TierError
from stripe_cache.core.metrics import CORRUPT_ENTRY
from stripe_cache.core.ports import LONGEST_CLAIM, Claim, Reading, StoreOutcome
from stripe_cache.core.protocol import new_token
from stripe_cache.core.sealing import UNSEALED
from stripe_cache.tiers import codec, redis_errors, redis_replies, redis_scripts
from stripe_cache.tiers.redis_cluster_wire import ClusterWire
from stripe_cache.tiers.redis_scripts import CLAIM, COUNT, HOLD_LIMITS, RELEASE, SETTLE, STORE, TOUCH, VOID, Script
from stripe_cache.tiers.redis_wire import IdleConnectionError, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.entry import Stored
    from stripe_cache.core.key import Key
    from stripe_cache.core.ports import Counter, HoldChange, Meter, Slot, Stamp, State
    from stripe_cache.core.sealing import Sealer

PREFIX = "sc1"
COUNTER_TTL = 30 * 86400
"""Seconds the counter outlives its last use; losing it begins a new epoch, which is safe and refuses fills."""
VOID_TTL = 2 * 3600
"""Seconds a voided record is kept: longer than a hold."""


class Commands(Protocol):
    """What the cache needs of a Redis client: a Wire, a ClusterWire, or redis-py's own for a single server."""

    def execute_command(self, *args: Any) -> Any:
        """Send one command and return its reply."""
        ...


class RedisTier:
    """Keeps entries in Redis or Valkey, single node or cluster. Thread-safe as its client is.

    `connect` makes the client on first use; the client returns bytes and carries its own deadlines.
    """

    name = "redis"

    def __init__(self, connect: Callable[[], Commands], meter: Meter, sealer: Sealer = UNSEALED) -> None:
        self._connect = connect
        self._sealer = sealer
        self._connected: Any = None
        self._meter = meter

    @property
    def cluster(self) -> ClusterWire | None:
        """The nodes, if it is known by now that there are several."""
        return self._connected if isinstance(self._connected, ClusterWire) else None

    def read(self, namespace: str, slots: Sequence[Slot]) -> list[Reading]:
        """Read with one HMGET per slot, all in one round trip."""
        commands = [
            ("HMGET", record_key(namespace, record), "g", *((f"v{key.variant}",) if key else ()))
            for record, key in slots
        ]
        readings = []
        for (_, key), fields in zip(slots, self._values(commands), strict=True):
            generation = fields[0].decode("utf-8", "replace") if fields[0] is not None else None
            stored = self._decode(fields[1], key) if key and generation is not None else None
            readings.append(Reading(generation, stored))
        return readings

    def _values(self, commands: Sequence[tuple[Any, ...]]) -> list[list[bytes | None]]:
        """Send reads; a key that is no hash is somebody else's: counted, and empty."""
        try:
            return self._send(commands)
        except TierError as error:
            if not _is_foreign(error.__cause__):
                raise
        if len(commands) == 1:
            self._meter.count(CORRUPT_ENTRY, tier=self.name)
            return [[None, None]]
        return [fields for command in commands for fields in self._values([command])]

    def touch(self, namespace: str, records: Sequence[str], token: str, ttl: float) -> tuple[list[State], Counter]:
        """Run one script per record, then the counter's.

        On a single node all go in one round trip, executed in order. In a cluster the counter takes another one,
        because nodes answer in no order.
        """

        def commands(word: str) -> list[tuple[Any, ...]]:
            touches = [_call(TOUCH, record_key(namespace, record), word, int(ttl)) for record in records]
            return [*touches, self._counting(namespace, 0, 0)]

        replies = self._send(commands(token), again=lambda: commands(new_token()), last=1)
        states = [redis_replies.state(fields) for fields in replies[:-1]]
        return states, redis_replies.counter(replies[-1])

    def settle(self, namespace: str, generations: Sequence[tuple[str, str]], stamp: Stamp) -> None:
        """Stamp generations that still stand unsettled."""
        text = f"{stamp.epoch}:{stamp.number}"
        self._send([_call(SETTLE, record_key(namespace, record), given, text) for record, given in generations])

    def store(self, key: Key, generation: str, stored: Stored, ttl: float) -> StoreOutcome:
        """Store in one script."""
        try:
            raw = self._sealer.seal(codec.encode(stored, key.binding), key)
        except KeyUnavailableError:
            return StoreOutcome.UNSEALED
        place = record_key(key.namespace, key.record)
        (kept,) = self._send([_call(STORE, place, generation, f"v{key.variant}", raw, max(1, int(ttl)))])
        return StoreOutcome.STORED if redis_replies.flag(kept) else StoreOutcome.REFUSED

    def void(self, namespace: str, records: Sequence[str], token: str, change: HoldChange) -> list[str]:
        """Void in one script per record, all in one round trip."""

        def commands(word: str) -> list[tuple[Any, ...]]:
            return [
                _call(VOID, record_key(namespace, record), word, change.add, change.remove, VOID_TTL, *HOLD_LIMITS)
                for record in records
            ]

        words = [token]

        def anew() -> list[tuple[Any, ...]]:
            words.append(new_token())
            return commands(words[-1])

        replies = [redis_replies.flag(said) for said in self._send(commands(token), again=anew)]
        if len(words) > 1:
            # None of them has `token` for certain, and the first try may still arrive. Settled by who takes this for a
            # list of what stands, it would be an old number on a new generation:
            #     invalidator 1: voids with T, its connection breaks, voids with U, reads the counter
            #     invalidator 2: announces, voids, done      T arrives at last      invalidator 1: settles T
            return []
        return [record for record, present in zip(records, replies, strict=True) if present]

    def count(self, namespace: str, *, started: int = 0, finished: int = 0) -> Counter:
        """Add to the counter in one script."""

        def commands() -> list[tuple[Any, ...]]:
            # A new word each time, also for the epoch: one that was lost in between must not come back.
            return [self._counting(namespace, started, finished)]

        (reply,) = self._send(commands(), again=commands)
        return redis_replies.counter(reply)

    def claim(self, key: Key, generation: str, token: str, seconds: float) -> Claim:
        """Claim in one script, by the server's clock; the claim goes with the record when that is voided."""
        place, field = record_key(key.namespace, key.record), f"c{key.variant}"
        longest = int(LONGEST_CLAIM * 1000)
        (reply,) = self._send([_call(CLAIM, place, generation, field, token, int(seconds * 1000), longest)])
        return Claim(redis_replies.text(reply))

    def release(self, key: Key, generation: str, token: str, seconds: float) -> None:
        """Turn the claim into a notice in one script."""
        place, field = record_key(key.namespace, key.record), f"c{key.variant}"
        self._send([_call(RELEASE, place, generation, field, token, int(seconds * 1000))])

    def _counting(self, namespace: str, started: int, finished: int) -> tuple[Any, ...]:
        return _call(COUNT, record_key(namespace, "#"), new_token(), started, finished, COUNTER_TTL)

    def _decode(self, raw: bytes | None, key: Key) -> Stored | None:
        if raw is None:
            return None
        try:
            return codec.decode(self._sealer.open(raw, key), key.binding)
        except KeyUnavailableError:
            return None
        except CorruptEntryError:
            self._meter.count(CORRUPT_ENTRY, tier=self.name)
            return None

    def _send(
        self,
        commands: Sequence[tuple[Any, ...]],
        again: Callable[[], Sequence[tuple[Any, ...]]] | None = None,
        last: int = 0,
    ) -> list[Any]:
        """Send the commands in one round trip, and once more if the connection was idle and turns out to be dead.

        The `last` ones run after the others. `again` makes what is sent the second time, where it must differ; such
        commands run in order on a single server. A generation must differ, because it may have been given already:
            invalidator 1: voids, generation T, its connection breaks     reader: leases T, asks the origin
            invalidator 2: voids, generation U, done                      invalidator 1: sends T again
            reader: stores, under T, what is dead since invalidator 2
        """
        if not commands:
            return []
        try:
            try:
                return self._send_once(commands, again, last)
            except redis.ConnectionError as error:
                if not self._may_help(error):
                    raise
                return self._send_once(again() if again else commands, again, last)
        except (redis.RedisError, OSError) as error:
            raise redis_errors.translate(error) from error

    def _may_help(self, error: redis.ConnectionError) -> bool:
        if isinstance(self._connected, (Wire, ClusterWire)):
            return isinstance(error, IdleConnectionError)
        return type(error) is redis.ConnectionError

    def _send_once(
        self, commands: Sequence[tuple[Any, ...]], again: Callable[[], Sequence[tuple[Any, ...]]] | None, last: int
    ) -> list[Any]:
        if isinstance(self._client(), ClusterWire):
            split = len(commands) - last
            return [reply for wave in (commands[:split], commands[split:]) if wave for reply in self._send_wave(wave)]
        if len(commands) == 1:
            return [self._send_one(commands[0])]
        replies = self._send_batch(commands)
        unknown = [isinstance(reply, redis.exceptions.NoScriptError) for reply in replies]
        if again and any(unknown):
            # Sending only the unknown ones again would run them after their successors. Where none has run yet, nothing
            # was given either.
            script = commands[0][0]
            ran = any(command[0] is script and not new for command, new in zip(commands, unknown, strict=True))
            return [self._send_one(command) for command in (again() if ran else commands)]
        return [
            self._send_one(command) if resend else _raised(reply)
            for command, reply, resend in zip(commands, replies, unknown, strict=True)
        ]

    def _send_wave(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands whose order does not matter to a cluster; what a node did not know, it did not run."""
        replies = self._send_batch(commands)
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, redis.exceptions.NoScriptError)]
        if unknown:
            for index, reply in zip(
                unknown,
                self._client().exchange([redis_scripts.in_full(commands[index]) for index in unknown]),
                strict=True,
            ):
                replies[index] = reply
        return [_raised(reply) for reply in replies]

    def _client(self) -> Any:
        # Two threads may both make one; either serves.
        if self._connected is None:
            self._connected = self._connect()
        return self._connected

    def _send_batch(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        lines = [redis_scripts.by_digest(command) for command in commands]
        client = self._client()
        if isinstance(client, ClusterWire):
            return client.exchange(lines, insist=any(map(redis_scripts.insists, commands)))
        if isinstance(client, Wire):
            return client.exchange(lines)
        pipeline = client.pipeline(transaction=False)
        for line in lines:
            pipeline.execute_command(*line)
        replies: list[Any] = pipeline.execute(raise_on_error=False)
        return replies

    def _send_one(self, command: tuple[Any, ...]) -> Any:
        try:
            return self._client().execute_command(*redis_scripts.by_digest(command))
        except redis.exceptions.NoScriptError:
            return self._client().execute_command(*redis_scripts.in_full(command))


def _is_foreign(error: BaseException | None) -> bool:
    return isinstance(error, redis.ResponseError) and str(error).startswith("WRONGTYPE")


def record_key(namespace: str, record: str) -> str:
    """Return the Redis key of a record; the braces make it one hash slot in a cluster."""
    return f"{PREFIX}:{{{namespace}|{record}}}"


def _call(script: Script, key: str, *arguments: Any) -> tuple[Any, ...]:
    return script, key, *arguments


def _raised(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply
