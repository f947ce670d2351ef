"""A KMS that says nothing: one wait, whatever is needed of it, and none where there is no time for it."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from security.conftest import CountingMeter, ManualClock

from stripe_cache.core.clock import SystemClock
from stripe_cache.core.errors import KeyUnavailableError
from stripe_cache.core.metrics import KEY_UNAVAILABLE
from stripe_cache.tiers.data_keys import DataKeys
from stripe_cache.tiers.kms_connection import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 1.0
N = "acct_1.test"


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make a client of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{server.getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "x")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        yield connect(TIMEOUT)


def test_a_read_that_opens_and_fills_waits_once_with_two_keys(silent: Any) -> None:
    keys = DataKeys(["new", "old"], lambda: silent, SystemClock(), CountingMeter())
    begun = time.monotonic()
    with pytest.raises(KeyUnavailableError):
        keys.unwrap(N, int(time.time()), b"wrapped")
    with pytest.raises(KeyUnavailableError, match="left alone"):
        keys.current(N)
    assert TIMEOUT * 0.9 < time.monotonic() - begun < TIMEOUT * 1.9
    assert keys.waited() < TIMEOUT * 1.9


def test_it_is_asked_again_after_the_pause(silent: Any, clock: ManualClock, meter: CountingMeter) -> None:
    keys = DataKeys(["new"], lambda: silent, clock, meter)
    asked: list[str] = []
    silent.meta.events.register("before-call.kms.*", lambda model, **_: asked.append(model.name))
    for ahead in (0.0, 4.9, 5.0):
        clock.ahead = ahead
        with pytest.raises(KeyUnavailableError):
            keys.current(N)
    assert len(asked) == 2


def test_nothing_is_asked_when_the_invocation_is_about_to_end(silent: Any, meter: CountingMeter) -> None:
    keys = DataKeys(["new"], lambda: silent, SystemClock(), meter, has_time=lambda: False)
    begun = time.monotonic()
    for _ in range(3):
        with pytest.raises(KeyUnavailableError, match="about to end"):
            keys.current(N)
    assert time.monotonic() - begun < TIMEOUT / 2
    assert meter.counts[KEY_UNAVAILABLE] == 3
