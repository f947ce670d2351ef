"""A Redis as values, under the real Redis tier: its commands, its bytes, its codec and what it sends again.

Each command is one step of the search, also inside a pipeline, which is not atomic. The scripts are written down again
here in Python; `test_redis_model.py` holds them against the real ones on a real server.
"""

from __future__ import annotations

import re
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import redis
from consistency.actors import BREAKS, DEAD, FAILS, LATE, LATE_BREAKS, LOST, Actor, BrokenConnectionError, World
from consistency.explorer import Nature

from stripe_cache.core.errors import TierError
from stripe_cache.core.ports import NullMeter
from stripe_cache.tiers import redis_scripts as scripts
from stripe_cache.tiers.redis import RedisTier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Command = tuple[Any, ...]
Fields = dict[str, bytes]

_FAULTS = (FAILS, LOST, DEAD, BREAKS, LATE, LATE_BREAKS)
STRAGGLERS = "stragglers"


class ModelRedis:
    """A client of the world's Redis in one actor's hands."""

    def __init__(self, actor: Actor, name: str) -> None:
        self._actor = actor
        self._name = name

    def execute_command(self, *command: Any) -> Any:
        (reply,) = self._run([command])
        return reply

    def pipeline(self, *, transaction: bool) -> _Pipeline:
        assert not transaction
        return _Pipeline(self._run)

    def _run(self, commands: Sequence[Command]) -> list[Any]:
        replies = []
        for index, command in enumerate(commands):
            try:
                reply = self._actor.point(
                    f"{_label(command)} in {self._name}",
                    partial(serve, tier=self._name, command=command),
                    _FAULTS,
                    # What was sent together arrives together.
                    late=partial(_straggle, tier=self._name, commands=tuple(commands[index:])),
                )
            except BrokenConnectionError:
                raise redis.ConnectionError("broken") from None
            except TierError as error:
                raise redis.TimeoutError(str(error)) from None
            replies.append(reply)
        return replies


class _Pipeline:
    def __init__(self, run: Callable[[Sequence[Command]], list[Any]]) -> None:
        self._run = run
        self._commands: list[Command] = []

    def execute_command(self, *command: Any) -> None:
        self._commands.append(command)

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        return self._run(self._commands)


def redis_tier(actor: Actor, name: str, watched: Sequence[str], kind: type[RedisTier] = RedisTier) -> RedisTier:
    """Make the real Redis tier over the world's Redis."""
    del watched
    client = ModelRedis(actor, name)
    return kind(lambda: client, NullMeter())


def straggler(tier: str, limit: int) -> Nature:
    """Let what was sent on a connection that broke arrive after all, in its order."""

    def effect(world: World) -> bool:
        waiting = world.get((STRAGGLERS, tier), ())
        if not waiting:
            return False
        serve(world, tier, waiting[0])
        world[STRAGGLERS, tier] = waiting[1:]
        return True

    return Nature("a command of a broken connection arrives", effect, limit)


def _straggle(world: World, tier: str, commands: tuple[Command, ...]) -> None:
    world[STRAGGLERS, tier] = (*world.get((STRAGGLERS, tier), ()), *commands)


def serve(world: World, tier: str, command: Command) -> Any:
    """Do what a command says, and return the reply's bytes."""
    name, *arguments = command
    if name == "HMGET":
        key, *fields = arguments
        held = dict(world.get((tier, _record(key)), ()))
        return tuple(held.get(field) for field in fields)
    assert name == "EVALSHA", name
    digest, _, key, *rest = arguments
    place = (tier, _record(key))
    held = dict(world.get(place, ()))
    reply = _SCRIPTS[digest][1](held, *[_text(one) for one in rest], now=int(world["time"] * 1000))
    if held:
        world[place] = tuple(sorted(held.items()))
    else:
        world.pop(place, None)
    return reply


def _record(key: str) -> str:
    return key.rpartition("|")[2].removesuffix("}")


def _label(command: Command) -> str:
    if command[0] == "HMGET":
        return f"read {_record(command[1])}"
    _, digest, _, key, *rest = command
    word = _SCRIPTS[digest][0]
    if word != "count":
        return f"{word} {_record(key)}"
    return "announce" if rest[1] else "count as finished" if rest[2] else "read the counter"


def _text(argument: Any) -> Any:
    return argument if isinstance(argument, bytes) else str(argument)


def _is(held: Fields, generation: str) -> bool:
    return held.get("g") == generation.encode()


def _touch(held: Fields, token: str, ttl: str, *, now: int) -> Any:
    del ttl, now
    held.setdefault("g", token.encode())
    return held.get("g"), held.get("s"), held.get("h")


def _settle(held: Fields, generation: str, stamp: str, *, now: int) -> int:
    del now
    if not _is(held, generation) or "s" in held:
        return 0
    held["s"] = stamp.encode()
    return 1


def _store(held: Fields, generation: str, field: str, raw: bytes, ttl: str, *, now: int) -> int:
    del ttl, now
    if not _is(held, generation):
        return 0
    held[field] = raw
    held.pop("c" + field[1:], None)
    return 1


def _void(held: Fields, token: str, add: str, remove: str, *limits: str, now: int) -> int:
    _, skew, most = map(int, limits)
    if not add and not held:
        return 0
    kept = [one for one in held.get("h", b"").decode().split(",") if one and one not in {add, remove}]
    kept = [one for one in kept if _end(one) > now // 1000 - skew]
    kept += [add] if add else []
    if len(kept) > most:
        foreign = [one for one in kept if _end(one) == inf]
        last = [int(_end(one)) for one in kept if one not in foreign]
        kept = [*foreign, *([f"many@{max(last)}"] if last else [])]
    held.clear()
    held["g"] = token.encode()
    if kept:
        held["h"] = ",".join(kept).encode()
    return 1


def _end(hold: str) -> float:
    found = re.search("@([0-9]+)$", hold)
    return int(found[1][:15]) if found else inf


def _count(held: Fields, epoch: str, started: str, finished: str, ttl: str, *, now: int) -> Any:
    del ttl, now
    if "e" not in held:
        held.update(e=epoch.encode(), n=b"0", d=b"0")
    held["n"] = str(int(held["n"]) + int(started)).encode()
    held["d"] = str(int(held["d"]) + int(finished)).encode()
    return held["e"], held["n"], held["d"]


def _claim(held: Fields, generation: str, field: str, token: str, *milliseconds: str, now: int) -> bytes:
    lasts, longest = map(int, milliseconds)
    if not _is(held, generation):
        return b"gone"
    old = held.get(field, b"").decode()
    kind, (ends, _, by) = old[:1], old[1:].partition(" ")
    own = kind == "+" and by == token
    if kind and not own and now < int(ends) <= now + longest:
        return b"taken" if kind == "+" else b"alone"
    if lasts > 0:
        held[field] = f"+{now + lasts} {token}".encode()
    return b"mine"


def _release(held: Fields, generation: str, field: str, token: str, milliseconds: str, *, now: int) -> int:
    if not _is(held, generation) or held.get(field, b"").decode().partition(" ")[2] != token:
        return 0
    held[field] = f"!{now + int(milliseconds)} {token}".encode()
    return 1


_SCRIPTS: dict[str, tuple[str, Callable[..., Any]]] = {
    scripts.TOUCH.digest: ("touch", _touch),
    scripts.SETTLE.digest: ("settle", _settle),
    scripts.STORE.digest: ("store", _store),
    scripts.VOID.digest: ("void", _void),
    scripts.COUNT.digest: ("count", _count),
    scripts.CLAIM.digest: ("claim", _claim),
    scripts.RELEASE.digest: ("release", _release),
}
