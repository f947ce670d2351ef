"""A call to AWS ends by the clock, not by each wait for bytes: a server that drips costs what a silent one costs."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ReadTimeoutError
from strange_aws import StrangeAws

from stripe_cache.core.clock import SystemClock
from stripe_cache.core.errors import KeyUnavailableError
from stripe_cache.core.ports import NullMeter
from stripe_cache.core.refresh import Refresher
from stripe_cache.tiers import aws_deadline, dynamodb_connection, kms_connection, sqs_connection
from stripe_cache.tiers.data_keys import DataKeys
from stripe_cache.tiers.refresh_queue import SqsRefreshQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fakes import FakeClock
    from world import World

    from local.redis_tls import Authority

SECONDS = 0.4
"""Of each deadline: byte by byte an answer takes 28 s, and each byte comes in time."""
ENDS = SECONDS * 2 + 2.0
PAUSE = 0.03


@pytest.fixture
def aws_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrangeAws]:
    with StrangeAws() as server:
        server.stand_in(monkeypatch)
        yield server
        server.gate.clear()


def get_item() -> Callable[[], Any]:
    client = dynamodb_connection.connect(SECONDS)
    return lambda: client.get_item(TableName="t", Key={"pk": {"S": "x"}})


def send_message() -> Callable[[], Any]:
    client = sqs_connection.connect(SECONDS, SECONDS)
    return lambda: client.send_message(QueueUrl="http://127.0.0.1/q", MessageBody="x")


def decrypt() -> Callable[[], Any]:
    client = kms_connection.connect(SECONDS)
    return lambda: client.decrypt(CiphertextBlob=b"x")


@pytest.mark.parametrize("made", [get_item, send_message, decrypt])
def test_an_answer_that_drips_is_given_up_in_time(aws_away: StrangeAws, made: Callable[[], Callable[[], Any]]) -> None:
    call = made()
    aws_away.pause = PAUSE
    began = time.monotonic()
    with pytest.raises(ReadTimeoutError):
        call()
    assert SECONDS * 0.9 < time.monotonic() - began < ENDS
    aws_away.pause = 0.0
    call()
    assert aws_away.connections == 2, "what still dripped is read by nobody"
    call()
    assert aws_away.connections == 2, "a good connection is kept"


def test_threads_have_deadlines_of_their_own(aws_away: StrangeAws) -> None:
    call, took = get_item(), []
    aws_away.pause = PAUSE

    def ask() -> None:
        began = time.monotonic()
        with pytest.raises(ReadTimeoutError):
            call()
        took.append(time.monotonic() - began)

    threads = []
    for _ in range(4):
        threads.append(threading.Thread(target=ask))
        threads[-1].start()
        time.sleep(0.2)
    for thread in threads:
        thread.join(20)
    assert len(took) == 4
    assert all(SECONDS * 0.9 < one < ENDS for one in took), took


def test_tls_is_bounded_too_and_verifies_as_ever(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.directory / "server.pem", authority.directory / "server.key")
    with StrangeAws(context) as server:
        server.stand_in(monkeypatch)
        stranger = get_item()
        with pytest.raises(Exception, match="certificate verify failed"):
            stranger()
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.certificate))
        call = get_item()
        server.connections = 0
        call()
        call()
        assert server.connections == 1
        server.pause = PAUSE
        began = time.monotonic()
        with pytest.raises(ReadTimeoutError):
            call()
        assert SECONDS * 0.9 < time.monotonic() - began < ENDS
        server.gate.clear()


def test_a_read_behind_a_dripping_table_is_stripes_and_the_tier_is_left_alone(
    world: World, aws_away: StrangeAws
) -> None:
    (customer, *_) = world.seed()["customers"]
    aws_away.pause = PAUSE
    cache = world.cache("dynamodb", dynamodb_timeout=SECONDS)
    cache.warm()
    began = time.monotonic()
    assert cache.get(f"/v1/customers/{customer}", api_key=world.key()).data["id"] == customer
    assert time.monotonic() - began < ENDS + 1
    asked = aws_away.requests
    assert cache.get(f"/v1/customers/{customer}", api_key=world.key()).data["id"] == customer
    assert aws_away.requests == asked, "left alone"


def test_a_dripping_refresh_queue_is_left_alone(aws_away: StrangeAws) -> None:
    client = sqs_connection.connect(SECONDS, SECONDS)
    refresher = Refresher(SqsRefreshQueue(f"{aws_away.url}/q", lambda: client), None, SystemClock(), NullMeter())
    aws_away.pause = PAUSE
    began = time.monotonic()
    for number in range(3):
        assert not refresher.send({"namespace": "acct_1.test", "variant": str(number)})
        assert aws_away.requests == 1
    assert time.monotonic() - began < ENDS


def test_a_queue_that_is_slow_twice_is_left_alone_although_it_took_the_messages(clock: FakeClock) -> None:
    class Slow:
        taken = 0

        def send(self, message: dict[str, Any], delay: int = 0) -> None:
            del message, delay
            self.taken += 1
            clock.advance(0.5)

    queue = Slow()
    refresher = Refresher(queue, None, clock, NullMeter())
    told = [refresher.send({"namespace": "acct_1.test", "variant": str(number)}) for number in range(3)]
    assert told == [True, True, False]
    assert queue.taken == 2


def test_a_dripping_kms_is_left_alone(aws_away: StrangeAws) -> None:
    client = kms_connection.connect(SECONDS)
    keys = DataKeys(["new"], lambda: client, SystemClock(), NullMeter())
    aws_away.pause = PAUSE
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(KeyUnavailableError):
            keys.current("acct_1.test")
    assert aws_away.requests == 1
    assert time.monotonic() - began < ENDS


def test_all_addresses_of_a_name_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    # TEST-NET addresses (RFC 5737) answer nobody, or are refused at once: either way one deadline must do for all.
    found = [(2, 1, 6, "", (f"192.0.2.{number}", 9)) for number in range(1, 9)]
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        "socket.getaddrinfo",
        lambda host, *more, **options: found if host == "many.example" else look_up(host, *more, **options),
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://many.example:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-west-1")
    call = get_item()
    began = time.monotonic()
    with pytest.raises(Exception, match=r"many\.example"):
        call()
    assert time.monotonic() - began < ENDS


def test_a_botocore_that_looks_different_inside_is_used_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    client = object()
    assert aws_deadline.bounded(client) is client
    assert "bounded by it alone" in caplog.text
