"""The modelled Redis answers as a real server does: the scripts run on both, and both hold the same afterwards."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import redis
from consistency.redis_model import serve

from stripe_cache.tiers.redis_scripts import CLAIM, COUNT, RELEASE, SETTLE, STORE, TOUCH, VOID

if TYPE_CHECKING:
    from local.valkey import Valkey

KEY = "sc1:{acct_1.test|cus_1}"
COUNTER = "sc1:{acct_1.test|#}"
ROUNDS = 3000


def _drawn(drawn: random.Random) -> tuple[Any, ...]:
    word, token = drawn.choice(["t1", "t2", "t3"]), drawn.choice(["p", "q"])
    # As with claims: ended long ago, or never while the test runs; and one of somebody else's.
    holds = ["h1@5", "h2@7", "h3@99999999999", "h4@99999999998", "h5@99999999997", "theirs"]
    hold = drawn.choice(["", "", "", *holds])
    # Claims end at once or not at all while the test runs: the model's clock stands still.
    claim = (word, "cv", token, drawn.choice([0, 50_000_000]), 60_000_000)
    script, *rest = drawn.choice(
        [
            (TOUCH, word, 60),
            (SETTLE, word, f"e:{drawn.randrange(3)}"),
            (STORE, word, "vv", drawn.choice([b"one", b"two"]), 60),
            (VOID, word, hold, drawn.choice(["", *holds]), 60, 420, drawn.choice([2, 100])),
            (CLAIM, *claim),
            (RELEASE, word, "cv", token, 50_000_000),
        ]
    )
    return "EVALSHA", script.digest, 1, KEY, *rest


def _count(drawn: random.Random) -> tuple[Any, ...]:
    return "EVALSHA", COUNT.digest, 1, COUNTER, drawn.choice(["e1", "e2"]), drawn.randrange(3), drawn.randrange(2), 60


def _without_times(held: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Leave out until when a claim lasts: the two clocks differ."""
    return {name: value[:1] + value.partition(b" ")[2] if name == b"cv" else value for name, value in held.items()}


def _plain(reply: Any) -> Any:
    return tuple(reply) if isinstance(reply, list) else reply


def test_the_modelled_redis_answers_as_the_real_one(valkey: Valkey) -> None:
    drawn, world = random.Random(1), {"time": 1e6}  # noqa: S311 (the same commands in every run)
    with redis.Redis.from_url(valkey.url) as client:
        for script in (TOUCH, SETTLE, STORE, VOID, CLAIM, RELEASE, COUNT):
            client.script_load(script.source)
        for number in range(ROUNDS):
            if drawn.random() < 0.03:
                client.delete(KEY)
                world.pop(("redis", "cus_1"), None)
            command = _count(drawn) if drawn.random() < 0.1 else _drawn(drawn)
            said = _plain(client.execute_command(*command))
            assert serve(world, "redis", command) == said, (number, command)
            modelled = {name.encode(): value for name, value in world.get(("redis", "cus_1"), ())}
            assert _without_times(modelled) == _without_times(client.hgetall(KEY)), (number, command)
        read = ("HMGET", KEY, "g", "vv")
        assert serve(world, "redis", read) == _plain(client.execute_command(*read))
