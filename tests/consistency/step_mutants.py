"""Mutants of what lies around the protocol's order: what is sent again, the bytes, holds, flights and claims."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import redis
from consistency import redis_model
from consistency.mutants import Mutant
from consistency.redis_model import redis_tier

from stripe_cache.core.claims import Claims
from stripe_cache.core.read_through import ReadThrough
from stripe_cache.core.writing import Attempts, Write
from stripe_cache.tiers import codec
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.tiers.redis_scripts import CLAIM, COUNT, RELEASE, SETTLE, STORE, VOID, Script

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from consistency.redis_model import Fields

    from stripe_cache.core.descent import Miss
    from stripe_cache.core.entry import Stored


class SendsTheSame(RedisTier):
    """One script is sent again as it was, as a client library's own retry does."""

    script = VOID

    def _send(
        self, commands: Sequence[Any], again: Callable[[], Sequence[Any]] | None = None, last: int = 0
    ) -> list[Any]:
        same = all(command[0] is self.script for command in commands)
        return super()._send(commands, None if same else again, last)


class CountsTheSame(SendsTheSame):
    script = COUNT


class AdaptsToWhatStands(RedisTier):
    """A script that was refused or lost is sent again under the generation that stands by then."""

    script: Script

    def _send(
        self, commands: Sequence[Any], again: Callable[[], Sequence[Any]] | None = None, last: int = 0
    ) -> list[Any]:
        if commands[0][0] is not self.script:
            return super()._send(commands, again, last)
        try:
            return self._send_once(commands, None, 0)
        except redis.ConnectionError:
            ((standing,),) = super()._send([("HMGET", commands[0][1], "g")])
            script, key, _, *rest = commands[0]
            return super()._send([(script, key, (standing or b"").decode(), *rest)])


class StoresUnderWhatStands(AdaptsToWhatStands):
    script = STORE


class SettlesWhatStands(AdaptsToWhatStands):
    script = SETTLE


class JoinsAnyFlight(ReadThrough):
    """A flight is named by what is asked for, not by what was found."""

    def _flight_key(self, miss: Miss, colour: Hashable) -> Hashable:
        return miss.plan.key, colour


class JoinsWhateverTheCounter(ReadThrough):
    """A flight is named by the record's generation; what the answer embeds is forgotten."""

    def _flight_key(self, miss: Miss, colour: Hashable) -> Hashable:
        return miss.plan.key, tuple((one.tier.name, one.generation) for one in miss.leases), colour


class NeverLandsAFailure(ReadThrough):
    """The followers of a call that fails are told nothing."""

    def _land(self, ticket: Any, answer: Any, error: BaseException | None = None) -> None:
        if error is None:
            super()._land(ticket, answer)


def _forgets_what_is_embedded(raw: bytes, binding: bytes, real: Any = codec.decode) -> Stored:
    stored: Stored = real(raw, binding)
    return replace(stored, entry=replace(stored.entry, embeds=()), generations=())


def _ends_without_an_answer(self: Write, body: bytes | str | None, real: Any = Write.end) -> None:
    real(self, body or b"")


def _settles_whatever_was_before(_: Attempts, status: int) -> bool:
    return status < 500


def _over(kind: type[RedisTier]) -> tuple[tuple[str, Any], ...]:
    return (("tier", partial(redis_tier, kind=kind)),)


def _claims_whatever_stands(held: Fields, generation: str, *rest: str, now: int) -> bytes:
    del generation
    return redis_model._claim(held, held.get("g", b"").decode(), *rest, now=now) if held else b"gone"


def _releases_whose_ever(held: Fields, generation: str, field: str, token: str, milliseconds: str, *, now: int) -> int:
    holder = held.get(field, b"").decode().partition(" ")[2]
    return redis_model._release(held, generation, field, holder or token, milliseconds, now=now)


def _script(script: Script, word: str, stand_in: Callable[..., Any]) -> Callable[[], Any]:
    return partial(mock.patch.dict, redis_model._SCRIPTS, {script.digest: (word, stand_in)})


STEP_MUTANTS = (
    Mutant("a broken connection sends the same generation again", "void again", _over(SendsTheSame)),
    Mutant("a broken connection sends the same epoch again", "count again", _over(CountsTheSame)),
    Mutant("a store is sent again under what stands by then", "store again", _over(StoresUnderWhatStands)),
    Mutant("a settle is sent again for what stands by then", "settle again", _over(SettlesWhatStands)),
    Mutant(
        "the bytes of a value do not name what it embeds",
        "bytes",
        (),
        partial(mock.patch.object, codec, "decode", _forgets_what_is_embedded),
    ),
    Mutant(
        "a write without an answer releases its hold",
        "late write",
        (),
        partial(mock.patch.object, Write, "end", _ends_without_an_answer),
    ),
    Mutant(
        "the last attempt of a write settles all",
        "late write",
        (),
        partial(mock.patch.object, Attempts, "settle", _settles_whatever_was_before),
    ),
    Mutant("a flight is named without generations", "threads", (("reads", JoinsAnyFlight),)),
    Mutant("a flight is named without the counter", "threads embedded", (("reads", JoinsWhateverTheCounter),)),
    Mutant("a claim ignores the generation", "evicted", (), _script(CLAIM, "claim", _claims_whatever_stands)),
    Mutant("a claim is released by another holder", "frozen", (), _script(RELEASE, "release", _releases_whose_ever)),
    Mutant("a claim is kept after a failure", "failing process", (), partial(mock.patch.object, Claims, "release")),
    Mutant("a failed call's followers are told nothing", "failing", (("reads", NeverLandsAFailure),)),
)
