"""Isolation both ways: what must never be shared is not, and the same identity does share, across processes too."""

from __future__ import annotations

import json
import multiprocessing
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from world import World, status_of

from stripe_cache.core.plan import Bypass, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

TIERS = [("memory",), ("redis",), ("dynamodb",), ("memory", "redis", "dynamodb")]
CONNECTED, OTHER = "acct_connected1", "acct_connected2"


@pytest.fixture(params=TIERS, ids="+".join)
def tiers(request: pytest.FixtureRequest) -> tuple[str, ...]:
    chosen: tuple[str, ...] = request.param
    return chosen


def two_ways(world: World, one: Mapping[str, Any], other: Mapping[str, Any], *tiers: str) -> list[bool]:
    """Read one customer, which all scopes have, in two ways in turn, twice each; return which reads were hits."""
    cache = world.cache(*tiers)
    customer = f"cus_{world.account}"
    for scope in ({}, {"livemode_": True}, {"account_": CONNECTED}):
        world.change("/v1/customers", id=customer, **scope)
    return [cache.get(f"/v1/customers/{customer}", **way).status.hit for way in (one, other, one, other)]


def test_the_same_identity_shares(world: World, tiers: tuple[str, ...]) -> None:
    key = world.key("a")
    assert two_ways(world, {"api_key": key}, {"api_key": key}, *tiers) == [False, True, True, True]


def test_two_keys_never_share(world: World, tiers: tuple[str, ...]) -> None:
    one, other = {"api_key": world.key("a")}, {"api_key": world.key("b")}
    assert two_ways(world, one, other, *tiers) == [False, False, True, True]


def test_two_api_versions_never_share(world: World, tiers: tuple[str, ...]) -> None:
    key = world.key("a")
    one, other = ({"api_key": key, "stripe_version": version} for version in ("2024-06-20", "2025-01-27.acacia"))
    assert two_ways(world, one, other, *tiers) == [False, False, True, True]


@pytest.mark.parametrize("header", ["stripe_account", "stripe_context"])
def test_two_accounts_and_contexts_never_share(world: World, tiers: tuple[str, ...], header: str) -> None:
    key = world.key("a")
    assert two_ways(world, {"api_key": key}, {"api_key": key, header: CONNECTED}, *tiers) == [False, False, True, True]


def test_two_modes_never_share(world: World, tiers: tuple[str, ...]) -> None:
    one, other = {"api_key": world.key("a")}, {"api_key": world.key("a", mode="live")}
    assert two_ways(world, one, other, *tiers) == [False, False, True, True]


def test_an_answer_always_is_the_one_of_the_identity_that_asked(world: World, tiers: tuple[str, ...]) -> None:
    cache, key = world.cache(*tiers), world.key("a")
    made = world.plain(key).v1.customers.create({"name": "ours"})
    world.fake.mutate("/v1/customers", account_=CONNECTED, id=made.id, name="theirs")
    ours, theirs = world.client(cache, key), world.client(cache, key, stripe_account=CONNECTED)
    for _ in range(3):
        assert ours.v1.customers.retrieve(made.id).name == "ours"
        assert theirs.v1.customers.retrieve(made.id).name == "theirs"
        per_call = ours.v1.customers.retrieve(made.id, options={"stripe_account": CONNECTED})
        assert per_call.name == "theirs"


@pytest.mark.parametrize("name", ["Stripe-Account", "stripe-account", "STRIPE-ACCOUNT", "stripe-context"])
def test_an_account_given_as_a_header_counts_in_any_spelling(world: World, name: str) -> None:
    cache, key = world.cache(), world.key("a")
    made = world.plain(key).v1.customers.create({"name": "ours"})
    world.fake.mutate("/v1/customers", account_=CONNECTED, id=made.id, name="theirs")
    client = world.client(cache, key)
    for _ in range(2):
        assert client.v1.customers.retrieve(made.id).name == "ours"
        assert client.v1.customers.retrieve(made.id, options={"headers": {name: CONNECTED}}).name == "theirs"


def test_a_key_given_as_a_header_counts_and_two_spellings_of_it_are_not_cached(world: World) -> None:
    client, other = world.client(world.cache(), world.key("a")), world.key("b")
    customer = world.seed()["customers"][0]
    client.v1.customers.retrieve(customer)
    replaced = client.v1.customers.retrieve(customer, options={"headers": {"Authorization": f"Bearer {other}"}})
    assert status_of(replaced) == "stripe-cache; fwd=uri-miss; stored"
    unclear = client.v1.customers.retrieve(customer, options={"headers": {"authorization": f"Bearer {other}"}})
    assert status_of(unclear) == "stripe-cache; fwd=bypass"


def test_a_restricted_key_gets_its_refusal_after_a_full_key_filled_the_cache(
    world: World, tiers: tuple[str, ...]
) -> None:
    cache, full, restricted = world.cache(*tiers), world.key("a"), world.key("a", kind="rk")
    customer = world.seed()["customers"][0]
    for _ in range(2):
        world.client(cache, full).v1.customers.retrieve(customer)
    with pytest.raises(stripe.PermissionError):
        world.client(cache, restricted).v1.customers.retrieve(customer)
    with pytest.raises(stripe.PermissionError):
        cache.get(f"/v1/customers/{customer}", api_key=restricted)


def test_the_opt_in_scope_shares_among_secret_keys_and_never_with_restricted_ones(world: World) -> None:
    cache = world.cache(shared_scope="backend")
    path = f"/v1/customers/{world.seed()['customers'][0]}"
    restricted = [world.key(name, kind="rk") for name in ("a", "b")]
    world.fake.configure(permissions={key: {"customers": "read"} for key in restricted})
    assert not cache.get(path, api_key=world.key("a")).status.hit
    assert cache.get(path, api_key=world.key("b")).status.hit
    assert [cache.get(path, api_key=key).status.hit for key in restricted] == [False, False]
    outsider = world.cache(shared_scope="frontend")
    assert not outsider.get(path, api_key=world.key("a")).status.hit


def test_a_connected_accounts_event_voids_there_and_by_id_at_the_platform_and_nowhere_else(
    world: World, tiers: tuple[str, ...]
) -> None:
    cache, key = world.cache(*tiers), world.key("a")
    customer = world.seed()["customers"][0]
    world.fake.mutate("/v1/customers", account_=CONNECTED, id=customer, name="theirs")
    path = f"/v1/customers/{customer}"
    ways: list[dict[str, Any]] = [
        {"api_key": key},
        *({"api_key": key, "stripe_account": a} for a in (CONNECTED, OTHER)),
    ]
    world.fake.mutate("/v1/customers", account_=OTHER, id=customer, name="somebody else's")

    def hits(path: str) -> list[bool]:
        return [cache.get(path, **way).status.hit for way in ways]

    for one in (path, "/v1/customers"):
        hits(one)
    event = {
        "id": "evt_1",
        "object": "event",
        "type": "customer.updated",
        "livemode": False,
        "account": CONNECTED,
        "data": {"object": {"id": customer, "object": "customer"}},
    }
    affected = cache.apply_event(event)
    assert affected.account == CONNECTED
    assert hits(path) == [False, False, True]
    # Each account has lists of its own. The platform's embeds an object of this very name here, which Stripe rules out.
    assert hits("/v1/customers")[1:] == [False, True]
    del event["account"]
    cache.apply_event(event)
    assert hits(path) == [False, True, True]
    assert hits("/v1/customers") == [False, True, True]


def test_an_event_of_the_other_mode_changes_nothing(world: World) -> None:
    cache, key = world.cache(livemode=False), world.key("a")
    path = f"/v1/customers/{world.seed()['customers'][0]}"
    cache.get(path, api_key=key)
    assert cache.invalidate(path.rpartition("/")[2], livemode=True) == {}
    assert cache.get(path, api_key=key).status.hit


def test_a_key_of_a_mode_that_is_not_served_is_never_cached(world: World) -> None:
    cache = world.cache(livemode=True)
    path = f"/v1/customers/{world.seed()['customers'][0]}"
    statuses = [str(cache.get(path, api_key=world.key("a")).status) for _ in range(2)]
    assert statuses == ["stripe-cache; fwd=bypass"] * 2


def test_another_host_is_never_answered_from_stripes_cache(world: World) -> None:
    planner = world.cache().engine.planner
    elsewhere = Request("get", "https://files.stripe.com/v1/customers/cus_1", world.key(), "", "", "")
    assert planner.plan(elsewhere) == Bypass("host")


def read_elsewhere(world_settings: dict[str, Any], path: str, key: str, answer: Any) -> None:
    """Run in a process of its own."""
    from stripe_cache import Settings, StripeCache

    got = StripeCache(Settings(**world_settings)).get(path, api_key=key)
    answer.send(json.dumps([str(got.status.tier), got.body.decode()]))


@pytest.mark.parametrize("tier", ["redis", "dynamodb"])
def test_the_same_identity_shares_across_processes_and_another_key_does_not(world: World, tier: str) -> None:
    key, other = world.key("a"), world.key("b")
    path = f"/v1/customers/{world.seed()['customers'][0]}"
    body = world.cache(tier).get(path, api_key=key).body
    settings = world.settings(tier)
    options = {name: getattr(settings, name) for name in settings.__slots__}
    context = multiprocessing.get_context("spawn")
    found = []
    for asked in (key, other):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=read_elsewhere, args=(options, path, asked, sender))
        process.start()
        assert receiver.poll(60)
        found.append(json.loads(receiver.recv()))
        process.join()
        process.close()
    assert found[0] == [tier, body.decode()]
    assert found[1][0] == ""
