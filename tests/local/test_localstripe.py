from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

import pytest
import stripe

from local.localstripe import Localstripe, ensure_installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def localstripe() -> Iterator[Localstripe]:
    with Localstripe() as server:
        yield server


def test_localstripe_answers_the_sdk_on_loopback_only(
    localstripe: Localstripe, assert_loopback_only: Callable[[int], None]
) -> None:
    assert_loopback_only(localstripe.port)
    client = stripe.StripeClient("sk_test_12345", base_addresses={"api": localstripe.url})
    made = client.v1.customers.create({"email": "ada@example.com"})
    assert client.v1.customers.retrieve(made.id).email == "ada@example.com"


def test_localstripe_writes_no_file_outside_its_directory(localstripe: Localstripe) -> None:
    dump = Path(gettempdir()) / "localstripe.pickle"
    before = dump.stat().st_mtime_ns if dump.exists() else None
    client = stripe.StripeClient("sk_test_12345", base_addresses={"api": localstripe.url})
    client.v1.customers.create({"email": "ben@example.com"})
    assert (dump.stat().st_mtime_ns if dump.exists() else None) == before


def test_installing_again_does_nothing(localstripe: Localstripe) -> None:
    assert localstripe.alive
    python = ensure_installed()
    stamp = python.parents[1] / "installed"
    before = stamp.stat().st_mtime_ns
    assert ensure_installed() == python
    assert stamp.stat().st_mtime_ns == before


def test_a_stopped_localstripe_leaves_no_process(process_gone: Callable[[int], bool]) -> None:
    with Localstripe() as server:
        pid = server.process.pid
    assert process_gone(pid)
