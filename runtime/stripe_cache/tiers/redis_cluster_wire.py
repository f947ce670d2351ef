"""Commands to the nodes of a cluster that hold their keys, without what redis-py's cluster client does in trouble.

That client sleeps a quarter of a second when the cluster is down, asks all nodes one after the other when one is dead,
and sends again what a node did not answer. Here all nodes are asked at once under one deadline, nothing is sent twice,
and the map of the slots is read again before the next command, from one node at a time. Only masters are ever asked:
a replica may lag, and what it says about generations may be a lie.

A node that is away has a breaker of its own. Its first failures count as the whole tier's, because nobody knows yet
whether it is the node or the network: as many dead masters as there are must cost what one costs. From then on it is
asked once for each of its pauses, and what fails for its sake is an `AwayError` as soon as any other node has answered.
"""

from __future__ import annotations

import itertools
import os
import time
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

import redis
from redis.crc import key_slot

from stripe_cache.core.breaker import Breaker
from stripe_cache.core.clock import SystemClock
from stripe_cache.tiers.redis_wire import BusyError, IdleConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stripe_cache.tiers.redis_wire import Sent, Wire

Node = tuple[str, int]
_SLOTS = 16384
_MAP_SECONDS = 0.2
"""Least time between two readings of the map while it is in doubt."""
_SCRIPTS = frozenset({"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO"})
_LOST = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.ClusterDownError)
_NO_FAULT_OF_A_NODE = (redis.AuthenticationError, IdleConnectionError)


class AwayError(redis.ConnectionError):
    """The command was for a node that is known to be away, while others answer."""


class ClusterWire:
    """Sends commands of one key each. Thread-safe; also after a fork. Raises redis.RedisError.

    `wire` makes what speaks to one node. `seeds` are asked for the map while nobody has told it: one of them for each
    exchange, so that several silent ones cost no exchange more than one deadline; then all that are known are asked.
    Each is a node, or a name that leads to any of them. With a single one that is dead, a process that has just started
    finds no other node, however well the cluster is.
    """

    def __init__(self, seeds: Sequence[Node], wire: Callable[[str, int], Wire]) -> None:
        self._seeds = tuple(seeds)
        self._teller = self._seeds[0]
        self._make = wire
        self._wires: dict[Node, Wire] = {}
        self._turn = itertools.count()
        self._masters: list[Node | None] = []
        self._known: list[Node] = []
        self._owners: frozenset[Node] = frozenset()
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._in_doubt = True
        self._read_at = self._failed_at = float("-inf")
        self._lost: Node | None = None
        self._breakers: dict[Node, Breaker] = {}
        # Since when nodes are left alone, and when any node last answered while there was one; monotonic.
        self._away: dict[Node, float] = {}
        self._answered = 0.0

    @property
    def is_partly_away(self) -> bool:
        """Whether there are masters that are left alone, or due to be asked again."""
        return not self._owners.isdisjoint(self._away)

    @property
    def is_partly_resting(self) -> bool:
        """Whether there are masters that are left alone and not due to be asked."""
        return any(node in self._owners and self._breaker(node).is_resting for node in list(self._away))

    def execute_command(self, *command: Any) -> Any:
        """Send one command and return its reply; an error reply is raised."""
        (reply,) = self.exchange([command])
        if isinstance(reply, redis.ResponseError):
            raise reply
        return reply

    def masters(self) -> list[Node]:
        """Return the masters, in an order that stays while the cluster stays as it is."""
        if self._in_doubt:
            self._read_map()
        return sorted({node for node in self._masters if node})

    def ask(self, node: Node, *command: Any) -> Any:
        """Send a command without a key to one master; an error reply is raised."""
        return self._wire(node).execute_command(*command)

    def exchange(self, commands: Sequence[tuple[Any, ...]], *, insist: bool = False) -> list[Any]:
        """Send the commands to their nodes at once, in no order between nodes; return the replies in order.

        An error reply is one of the replies. A command that was sent to the wrong node was not executed there, and
        goes to the right one; once. Who insists has nodes asked that are left alone.
        """
        if self._pid != os.getpid():
            self._begin()
        if self._in_doubt:
            self._read_map()
        places: dict[Node, list[int]] = {}
        for index, command in enumerate(commands):
            slot = _slot(command)
            places.setdefault(self._masters[slot] or self._teller, []).append(index)
        replies: list[Any] = [None] * len(commands)
        # Who insists is a probe as well, where one is due: the node's next pause begins with its failure.
        resting = [node for node in places if self._away and not self._breaker(node).admits() and not insist]
        for node in resting:
            del places[node]
        self._ask(places, commands, replies)
        self._follow(commands, replies)
        if resting:
            # Perhaps another one has its slots by now.
            self._in_doubt = True
            raise self._of_a_part(
                redis.ConnectionError(f"{resting[0][0]}:{resting[0][1]} is left alone after failures")
            )
        return replies

    def _follow(self, commands: Sequence[tuple[Any, ...]], replies: list[Any]) -> None:
        """Send what was refused for its place to where it belongs."""
        moved: dict[Node, list[int]] = {}
        for index, reply in enumerate(replies):
            if isinstance(reply, (redis.exceptions.MovedError, redis.exceptions.ClusterDownError)):
                self._in_doubt = True
            if not isinstance(reply, redis.exceptions.AskError):
                continue
            node = (reply.host or self._teller[0], int(reply.port))
            if isinstance(reply, redis.exceptions.MovedError):
                self._masters[reply.slot_id] = node
                moved.setdefault(node, []).append(index)
            else:
                # The slot is on its way, and ASKING opens the door for the one command behind it.
                replies[index] = self._wire(node).exchange([("ASKING",), commands[index]])[1]
        if moved:
            self._ask(moved, commands, replies)

    def _ask(self, places: dict[Node, list[int]], commands: Sequence[tuple[Any, ...]], replies: list[Any]) -> None:
        sent: list[tuple[Node, Sent]] = []
        failures: list[redis.RedisError] = []
        began = time.monotonic()
        # In the same order everywhere: a thread holds a connection to one node while it waits for another's.
        for node in sorted(places):
            try:
                sent.append((node, self._wire(node).send([commands[index] for index in places[node]], began)))
            except redis.RedisError as error:
                failures.append(self._note(node, error))
            except BaseException:
                for other, one in sent:
                    self._wire(other).abandon(one)
                raise
        ends = 0.0
        for node, one in sent:
            # All are received, also after a failure: a connection whose replies were not read is lost.
            try:
                answers = self._wire(node).receive(one, ends)
            except redis.RedisError as error:
                failures.append(self._note(node, error))
                # Whoever has not answered by now has had as long as the one that did not answer at all.
                ends = time.monotonic()
                continue
            if self._away:
                self._well(node)
            for index, reply in zip(places[node], answers, strict=True):
                replies[index] = reply
        # What says most about the cluster as a whole.
        for failure in sorted(failures, key=lambda one: (isinstance(one, AwayError), isinstance(one, BusyError))):
            raise failure

    def _note(self, node: Node, error: redis.RedisError) -> redis.RedisError:
        """Remember a failure; return what to raise for it."""
        if not isinstance(error, _LOST):
            return error
        self._in_doubt, self._lost = True, node
        if isinstance(error, _NO_FAULT_OF_A_NODE):
            return error
        breaker = self._breaker(node)
        breaker.failed(was_slow=isinstance(error, redis.TimeoutError))
        if node in self._away:
            return self._of_a_part(error)
        if breaker.is_open:
            self._away[node] = time.monotonic()
        return error

    def _of_a_part(self, error: redis.RedisError) -> redis.RedisError:
        """Return what it is if others are well: whoever has answered since the last node was found away."""
        is_part = self._answered > max(self._away.values(), default=0.0)
        return AwayError(f"{type(error).__name__}: {error}") if is_part else error

    def _well(self, node: Node) -> None:
        self._breaker(node).succeeded()
        self._away.pop(node, None)
        self._answered = time.monotonic()

    def _breaker(self, node: Node) -> Breaker:
        return self._breakers.get(node) or self._breakers.setdefault(node, Breaker(SystemClock()))

    def _wire(self, node: Node) -> Wire:
        wire = self._wires.get(node)
        if wire is None:
            # Two threads may both make one; one of them stays.
            wire = self._wires.setdefault(node, self._make(*node))
        return wire

    def _read_map(self) -> None:
        began = time.monotonic()
        with self._lock:
            if not self._in_doubt or (self._masters and time.monotonic() - self._read_at < _MAP_SECONDS):
                return
            if self._failed_at > began:
                # Others asked while this one waited. One after the other would cost each a deadline more.
                raise redis.TimeoutError("no node told the map of the slots while this thread waited for it")
            self._read_at = time.monotonic()
            known = self._known
            # Any node can tell; one that has just failed, or is left alone, is asked only when there is no other.
            nodes = list(dict.fromkeys((*self._seeds, *known)))
            others = [node for node in nodes if node != self._lost and node not in self._away] or nodes
            asked = others[next(self._turn) % len(others)]
            try:
                rows = self._wire(asked).execute_command("CLUSTER", "SLOTS")
                self._masters, self._known = _read(rows, asked[0])
            except redis.RedisError as error:
                self._note(asked, error)
                self._lost = asked
                if not self._masters:
                    self._failed_at = time.monotonic()
                    raise
                return
            self._in_doubt, self._lost, self._teller = False, None, asked
            self._owners = frozenset(node for node in self._masters if node)
            if self._away:
                self._well(asked)
            for node in {*self._wires, *self._away} - {*self._known, *self._seeds}:
                for kept in (self._wires, self._away, self._breakers):
                    with suppress(KeyError):
                        del kept[node]


def _read(rows: Iterable[Sequence[Any]], asked: str) -> tuple[list[Node | None], list[Node]]:
    """Return the master of each slot, and all nodes, replicas too: where the one master is dead, they tell who is."""
    masters: list[Node | None] = [None] * _SLOTS
    known: dict[Node, None] = {}
    for first, last, *nodes in rows:
        named = [_node(fields, asked) for fields in nodes]
        masters[int(first) : int(last) + 1] = named[:1] * (int(last) - int(first) + 1)
        known |= dict.fromkeys(named)
    return masters, list(known)


def _node(fields: Sequence[Any], asked: str) -> Node:
    # A node that does not know its own name leaves it out: it is the one that was asked.
    host = (fields[0] or b"").decode()
    return host if host not in {"", "?"} else asked, int(fields[1])


def _slot(command: tuple[Any, ...]) -> int:
    key = command[3] if command[0] in _SCRIPTS else command[1]
    slot: int = key_slot(key.encode() if isinstance(key, str) else key)
    return slot
