"""What the tests of the gate to Stripe are given; other tests of this folder have a fake Stripe of their own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from origin_help import cache_for

from local.fake_stripe.client import FakeStripe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stripe_cache import StripeCache


@pytest.fixture(scope="module")
def stripe_server() -> Iterator[FakeStripe]:
    with FakeStripe(seed=4) as server:
        yield server


@pytest.fixture
def fake(stripe_server: FakeStripe) -> FakeStripe:
    stripe_server.reset(state=True)
    stripe_server.configure(limits={})
    return stripe_server


@pytest.fixture
def customer(fake: FakeStripe) -> str:
    return fake.seed(customers=1)["customers"][0]


@pytest.fixture
def make(fake: FakeStripe) -> Callable[..., StripeCache]:
    return partial(cache_for, fake)
