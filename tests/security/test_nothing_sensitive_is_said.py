"""Logs, errors and representations: path by path, with secrets planted where they could slip out."""

from __future__ import annotations

import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import redis
from sensitive import SENSITIVE, Listener, listening

from stripe_cache import InvalidationError, SettingError, Settings, StripeCache
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.errors import TierError
from stripe_cache.core.plan import Request
from stripe_cache.core.ports import NullMeter, Slot
from stripe_cache.handlers.secrets import Secrets
from stripe_cache.meter import EmfMeter
from stripe_cache.tiers.dynamodb_table import Table
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.tiers.redis_url import parse

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "sk_live_PLANTED1"
HOOK = "whsec_PLANTED2"
EMAIL = "planted3@example.com"
PASSWORD = "PLANTED4"


def test_a_request_shows_neither_key_nor_query() -> None:
    request = Request("get", f"https://api.stripe.com/v1/customers?email={EMAIL}", KEY, "acct_1", "", "")
    assert repr(request) == str(request) == "Request(get https://api.stripe.com/v1/customers)"


def test_settings_show_no_secret() -> None:
    shown = repr(
        Settings(
            namespace="acct_1",
            redis_url=f"rediss://user:{PASSWORD}@host:6379",
            api_key_secret="sk_test_PLANTED",
            webhook_secret=HOOK,
            fingerprint_secret="PLANTED5",
        )
    )
    assert "PLANTED" not in shown


@pytest.mark.parametrize("url", [f"http://u:{PASSWORD}@h", f"redis://u:{PASSWORD}@h/x", f"redis://:{PASSWORD}@h:port"])
def test_a_wrong_redis_url_is_told_without_its_password(url: str) -> None:
    with pytest.raises(SettingError) as raised:
        parse(url)
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))


def test_an_address_shows_no_password() -> None:
    assert PASSWORD not in repr(parse(f"redis://u:{PASSWORD}@h:1"))


@pytest.mark.parametrize("secret", [KEY, "rk_live_PLANTED"])
def test_a_secret_in_place_of_its_id_is_told_and_not_repeated(secret: str, aws: pytest.MonkeyPatch) -> None:
    del aws
    with pytest.raises(Exception, match="holds a secret itself") as raised:
        Secrets(SystemClock()).values(secret, "STRIPE_CACHE_API_KEY_SECRET")
    assert "PLANTED" not in "".join(traceback.format_exception(raised.value))


class Repeating:
    """A Redis client whose server repeats what it was sent, as servers do for unknown commands."""

    def execute_command(self, *args: Any) -> Any:
        raise redis.ResponseError(f"unknown command 'EVALSHA', with args beginning with: {args!r} {EMAIL}")

    def pipeline(self, **_: Any) -> Any:
        raise AssertionError


def test_a_server_that_repeats_its_arguments_is_not_quoted() -> None:
    with pytest.raises(TierError) as raised:
        RedisTier(Repeating, NullMeter()).read("n", [Slot("cus_1")])
    assert str(raised.value) == "redis: ResponseError: unknown command 'EVALSHA'"


class Confused:
    """A tier that fails with an error that quotes a body."""

    name = "redis"

    def count(self, *_: Any, **__: Any) -> Any:
        EMAIL.encode().join([b"\xff"] * 2).decode()

    touch = read = settle = store = void = claim = release = count


def test_a_strangers_error_is_named_and_not_quoted() -> None:
    tier: Any = GuardedTier(Confused(), 1.0, SystemClock(), NullMeter())  # type: ignore[arg-type]  # enough of a tier
    with pytest.raises(TierError) as raised:
        tier.count("n")
    assert str(raised.value) == "redis: UnicodeDecodeError"


def test_dynamodb_errors_name_the_code(aws: pytest.MonkeyPatch, table: str) -> None:
    del aws
    from stripe_cache.tiers.dynamodb_connection import connect

    with pytest.raises(TierError) as raised:
        Table(lambda: connect(5.0), table).update("x" * 3000, "SET g = :g", {":g": {"S": EMAIL}})
    assert EMAIL not in str(raised.value)


def test_a_failed_invalidation_names_a_few_records() -> None:
    error = InvalidationError(tuple(f"cus_{n}" for n in range(2000)), {}, {"redis": "down"})
    assert len(str(error)) < 200
    assert "cus_4 and 1995 more" in str(error)


def test_a_dead_cache_logs_neither_key_nor_body(
    settings: Callable[..., Settings], fake: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    given = settings(redis_url=f"redis://u:{PASSWORD}@127.0.0.1:9", redis_timeout=0.05, table="")
    listener, meter = Listener(), EmfMeter("test")
    with listening(listener), caplog.at_level(logging.DEBUG, "stripe_cache"):
        from stripe_cache.wiring import build

        cache = StripeCache(given, engine=build(given, meter=meter))
        client = cache.client("sk_test_PLANTED6")
        client.v1.customers.update(customer, params={"email": EMAIL})
        assert client.v1.customers.retrieve(customer).email == EMAIL
        with pytest.raises(InvalidationError) as raised:
            cache.invalidate(customer)
        meter.flush()
    said = caplog.text + capsys.readouterr().out + "".join(traceback.format_exception(raised.value))
    assert "could not be told" in said
    assert "PLANTED" not in said
    assert EMAIL not in said
    assert listener.found == []
    assert listener.heard > 3


def test_the_search_finds_what_is_planted(capsys: pytest.CaptureFixture[str]) -> None:
    listener = Listener()
    with listening(listener):
        logging.getLogger("stripe_cache").warning("key %s", KEY)
        logging.getLogger("stripe_cache.x").error("mail", extra={"to": EMAIL})
        with pytest.raises(SettingError):
            raise SettingError(f"secret {HOOK}")
        meter = EmfMeter("sk_test_stage")
        meter.count("Hit")
        meter.flush()
    assert "sk_test_stage" in capsys.readouterr().out, "what is heard is passed on"
    assert len(listener.found) >= 4
    assert not any("PLANTED" in line for line in listener.found), "the report itself repeats only the beginning"
    for text in ("4242424242424242", "4242 4242 4242 4242", "pi_1_secret_abcdefgh", "rk_live_ab"):
        assert SENSITIVE.search(text)
    for text in ("cus_4242424242424242x", "sk_", "STRIPE_CACHE_WEBHOOK_SECRET", "the_secret_id"):
        assert not SENSITIVE.search(text)


def test_a_settings_error_survives_pickling_while_listening() -> None:
    with listening(Listener()):
        assert str(pickle.loads(pickle.dumps(SettingError("x")))) == "x"  # noqa: S301 (our own bytes)
