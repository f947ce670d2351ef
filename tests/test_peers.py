"""What users would take instead, set up as its documentation says: it leaks across keys and is stale after a write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests
import stripe
from hishel import SqliteStorage
from hishel.requests import CacheAdapter
from requests_cache import CachedSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from world import World

    Make = Callable[..., stripe.StripeClient]

PEERS = ["requests-cache", "hishel"]


@pytest.fixture
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[requests.Session]:
    """One cached session for the whole process, as users have it."""
    if request.param == "requests-cache":
        made: requests.Session = CachedSession(backend="memory")
    else:
        made = requests.Session()
        adapter = CacheAdapter(storage=SqliteStorage(database_path=tmp_path / "hishel.sqlite"))
        made.mount("http://", adapter)
    yield made
    made.close()


@pytest.fixture
def peer(session: requests.Session, world: World) -> Make:
    def make(key: str, **options: Any) -> stripe.StripeClient:
        inner = stripe.RequestsClient(session=session)
        return stripe.StripeClient(key, http_client=inner, base_addresses={"api": world.fake.url}, **options)

    return make


@pytest.fixture
def ours(world: World) -> Make:
    cache = world.cache()
    return lambda key, **options: world.client(cache, key, **options)


def second_key_sees(make: Make, world: World) -> str | None:
    """Read one account's customer, then with the key of another account that has a customer of the same id."""
    other = f"{world.account}x"
    customer = world.change("/v1/customers", name="ours")["id"]
    world.fake.mutate("/v1/customers", account_=other, id=customer, name="theirs")
    assert make(world.key("a")).v1.customers.retrieve(customer).name == "ours"
    return make(world.key("b", account=other)).v1.customers.retrieve(customer).name


def read_after_write(make: Make, world: World) -> str | None:
    client = make(world.key())
    customer = world.change("/v1/customers", name="old")["id"]
    client.v1.customers.retrieve(customer)
    client.v1.customers.update(customer, {"name": "new"})
    return client.v1.customers.retrieve(customer).name


@pytest.mark.parametrize("session", PEERS, indirect=True)
def test_a_peer_gives_one_keys_customer_to_another_key(peer: Make, world: World) -> None:
    assert second_key_sees(peer, world) == "ours"


@pytest.mark.parametrize("session", PEERS, indirect=True)
def test_a_peer_is_stale_after_a_write_through_itself(peer: Make, world: World) -> None:
    assert read_after_write(peer, world) == "old"


def test_ours_gives_each_key_its_own_customer(ours: Make, world: World) -> None:
    assert second_key_sees(ours, world) == "theirs"


def test_ours_reads_its_write(ours: Make, world: World) -> None:
    assert read_after_write(ours, world) == "new"
