from __future__ import annotations

import gc
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING

import pytest
import redis

from local.valkey import Valkey
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.errors import TierBusyError, TierError
from stripe_cache.core.ports import NO_HOLD, NullMeter, Slot
from stripe_cache.tiers import redis_connection, redis_permits
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_url import parse
from stripe_cache.tiers.redis_wire import BusyError, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS = 8
ROOT = Path(__file__).resolve().parents[2]

FORKED = """
import os, sys
sys.path[:0] = sys.argv[2:]
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_url import parse

wire = connect(parse(sys.argv[1]), 5.0)
parents = wire.execute_command("CLIENT", "ID")
child = os.fork()
if child == 0:
    mine = wire.execute_command("CLIENT", "ID")
    answers = [wire.execute_command("ECHO", f"child-{n}") for n in range(200)]
    fine = mine != parents and answers == [f"child-{n}".encode() for n in range(200)]
    os._exit(0 if fine else 1)
answers = [wire.execute_command("ECHO", f"parent-{n}") for n in range(200)]
assert answers == [f"parent-{n}".encode() for n in range(200)]
assert wire.execute_command("CLIENT", "ID") == parents
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
def wire(valkey: Valkey) -> Wire:
    made = connect(parse(valkey.url), 0.3)
    assert isinstance(made, Wire)
    return made


@pytest.fixture
def admin(valkey: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url) as client:
        yield client


def connections_made(admin: redis.Redis) -> int:
    return int(admin.info("stats")["total_connections_received"])


def test_replies_come_in_the_order_of_the_commands(wire: Wire) -> None:
    commands = [
        ("SET", "a", b"\x00\xff"),
        ("GET", "a"),
        ("HSET", "h", "g", 7),
        ("HMGET", "h", "g", "absent"),
        ("GET", "x"),
    ]
    assert wire.exchange(commands) == [b"OK", b"\x00\xff", 1, [b"7", None], None]


def test_an_error_reply_is_one_of_the_replies_and_shifts_no_other(wire: Wire, admin: redis.Redis) -> None:
    wire.execute_command("SET", "text", "t")
    before = connections_made(admin)
    first, error, last = wire.exchange([("ECHO", "1"), ("HGET", "text", "g"), ("ECHO", "2")])
    assert (first, last) == (b"1", b"2")
    assert isinstance(error, redis.ResponseError)
    assert wire.execute_command("ECHO", "3") == b"3"
    assert connections_made(admin) == before


def test_a_single_error_reply_is_raised(wire: Wire) -> None:
    with pytest.raises(redis.ResponseError, match="unknown command"):
        wire.execute_command("NOSUCHCOMMAND")


def test_nothing_is_sent_twice_but_a_closed_connection_is_replaced(wire: Wire, admin: redis.Redis) -> None:
    victim = wire.execute_command("CLIENT", "ID")
    assert admin.execute_command("CLIENT", "KILL", "ID", victim) == 1
    with pytest.raises(redis.ConnectionError):
        wire.exchange([("ECHO", "a"), ("ECHO", "b")])
    assert wire.exchange([("ECHO", "a"), ("ECHO", "b")]) == [b"a", b"b"]
    assert wire.execute_command("CLIENT", "ID") != victim


def test_one_closed_connection_takes_the_idle_ones_with_it(wire: Wire, admin: redis.Redis) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        barrier = Barrier(THREADS)
        victims = set(threads.map(lambda _: (barrier.wait(), wire.execute_command("CLIENT", "ID"))[1], range(THREADS)))
    for victim in victims:
        admin.execute_command("CLIENT", "KILL", "ID", victim)
    with pytest.raises(redis.ConnectionError):
        wire.execute_command("ECHO", "a")
    assert wire.execute_command("ECHO", "a") == b"a", "the next try has a new connection, however many had died"


def test_an_answer_that_came_too_late_is_never_taken_for_another_one(wire: Wire, valkey: Valkey) -> None:
    assert wire.execute_command("ECHO", "warm") == b"warm"
    valkey.freeze()
    with pytest.raises(redis.TimeoutError):
        wire.exchange([("ECHO", "late-1"), ("ECHO", "late-2")])
    valkey.thaw()
    assert [wire.execute_command("ECHO", f"new-{n}") for n in range(3)] == [b"new-0", b"new-1", b"new-2"]


def test_threads_get_their_own_answers_over_no_more_connections_than_threads(wire: Wire, admin: redis.Redis) -> None:
    before = connections_made(admin)

    def ask(thread: int) -> bool:
        return all(wire.exchange([("ECHO", f"{thread}-{n}")]) == [f"{thread}-{n}".encode()] for n in range(200))

    with ThreadPoolExecutor(THREADS) as threads:
        assert all(threads.map(ask, range(THREADS)))
    assert connections_made(admin) - before <= THREADS


def test_a_failed_exchange_gives_its_connection_back_to_the_pool(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "MAX_CONNECTIONS", 1)
    wire = connect(parse(valkey.url), 0.05)
    for _ in range(3):
        assert wire.execute_command("ECHO", "a") == b"a"
        valkey.freeze()
        with pytest.raises(redis.TimeoutError):
            wire.execute_command("ECHO", "b")
        valkey.thaw()
    assert wire.execute_command("ECHO", "c") == b"c"


def test_what_is_sent_and_never_received_costs_no_connection_and_answers_nobody_else(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "MAX_CONNECTIONS", 2)
    wire = connect(parse(valkey.url), 5.0)
    assert isinstance(wire, Wire)
    for number in range(6):

        def interrupted(told: str = f"lost-{number}") -> None:
            # A signal's handler may raise anywhere, also when nobody has taken what `send` returned.
            sent = wire.send([("ECHO", told)])
            assert sent.replies
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert wire.exchange([("ECHO", f"{number}")]) == [f"{number}".encode()]


def test_a_permit_comes_back_however_it_is_lost_and_none_outlives_its_wire() -> None:
    made = redis_permits.permits(2)
    made.get()
    assert made.qsize() == 2, "lost at once"
    permit = made.get()
    permit.give_back()
    assert made.qsize() == 2
    del permit
    assert made.qsize() == 2, "given back once"
    kept = made.get()
    del made
    with warnings.catch_warnings():
        # What other tests have lost on purpose is collected here as well.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    kept.give_back()


def test_who_waits_in_vain_for_a_connection_holds_it_against_nobody(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "MAX_CONNECTIONS", 1)
    wire = connect(parse(valkey.url), 0.1)
    assert isinstance(wire, Wire)
    tier = RedisTier(lambda: wire, NullMeter())
    guard = GuardedTier(tier, 0.3, SystemClock(), NullMeter())
    held = wire.send([("ECHO", "held")])
    began = time.monotonic()
    with pytest.raises(BusyError, match="all 1 connections of this process"):
        wire.execute_command("PING")
    assert time.monotonic() - began >= 0.1
    for _ in range(3):
        with pytest.raises(TierBusyError):
            guard.touch("acct_1.test", ["cus_1"], "t1", 60)
        assert guard.read("acct_1.test", [Slot("cus_1")])[0].generation is None
    assert not guard.is_open
    assert wire.receive(held) == [b"held"]
    assert wire.execute_command("PING")


def test_who_waits_while_the_server_fails_others_gives_up_with_them(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "MAX_CONNECTIONS", 2)
    timeout, count = 0.3, 24
    wire = connect(parse(valkey.url), timeout)
    wire.execute_command("PING")
    barrier = Barrier(count)

    def took(_: int) -> float:
        barrier.wait()
        began = time.monotonic()
        with pytest.raises((redis.TimeoutError, BusyError)):
            wire.execute_command("PING")
        return time.monotonic() - began

    valkey.freeze()
    with ThreadPoolExecutor(count) as threads:
        waited = list(threads.map(took, range(count)))
    valkey.thaw()
    assert max(waited) < 4 * timeout, "there would be twelve waves"
    assert wire.execute_command("PING")


def test_a_server_that_is_gone_raises_and_one_that_is_back_answers(valkey: Valkey, wire: Wire) -> None:
    assert wire.execute_command("ECHO", "a") == b"a"
    valkey.stop()
    with pytest.raises(redis.ConnectionError):
        wire.execute_command("ECHO", "b")
    with Valkey(port=valkey.port):
        assert wire.execute_command("ECHO", "c") == b"c"


def test_parent_and_child_of_a_fork_do_not_share_connections(valkey: Valkey) -> None:
    command = [sys.executable, "-c", FORKED, valkey.url, str(ROOT / "runtime")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_tier_sends_scripts_in_full_once_the_server_has_forgotten_them(valkey: Valkey, admin: redis.Redis) -> None:
    tier = RedisTier(lambda: connect(parse(valkey.url), 5.0), NullMeter())
    tier.touch("acct_1.test", ["cus_1", "cus_2"], "first", 60)
    admin.script_flush()
    states, counter = tier.touch("acct_1.test", ["cus_1", "cus_2", "cus_3"], "second", 60)
    assert [state.generation for state in states] == ["first", "first", "second"]
    admin.script_flush()
    assert tier.void("acct_1.test", ["cus_1", "cus_9", "cus_3"], "third", NO_HOLD) == ["cus_1", "cus_3"]
    admin.script_flush()
    assert tier.count("acct_1.test", started=1).started == counter.started + 1


def test_the_tier_makes_its_own_error_of_a_failure_and_of_an_error_reply(valkey: Valkey, admin: redis.Redis) -> None:
    tier = RedisTier(lambda: connect(parse(valkey.url), 0.3), NullMeter())
    admin.execute_command("ACL", "SETUSER", "default", "-hsetnx")
    try:
        with pytest.raises(TierError, match="hsetnx"):
            tier.touch("acct_1.test", ["cus_1"], "token", 60)
    finally:
        admin.execute_command("ACL", "SETUSER", "default", "+@all")
    valkey.freeze()
    with pytest.raises(TierError, match="TimeoutError"):
        tier.count("acct_1.test")
