"""A connected account is read in two ways, and whichever way it changes, both read the change."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from fakes import FakeClock, FaultyTier, RecordingMeter
from world import World, status_of

from stripe_cache import InvalidationError
from stripe_cache.core.errors import TierError
from stripe_cache.core.protocol import HOLD_SECONDS
from stripe_cache.tiers.guarded import GuardedTier
from stripe_cache.wiring import shared_tiers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_cache import StripeCache
    from stripe_cache.core.ports import HoldChange

HELD, MISS = "stripe-cache; fwd=uri-miss", "stripe-cache; fwd=uri-miss; stored"


class PartlyAway(FaultyTier):
    """Can be told nothing in one namespace."""

    away = ""

    def void(self, namespace: str, records: Sequence[str], token: str, change: HoldChange) -> list[str]:
        if self.away and namespace.startswith(self.away):
            raise TierError(f"{self.name}: away for {namespace}")
        return super().void(namespace, records, token, change)


class Readers:
    """The platform and its connected account, which read the account and a person of it, each in its own way."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.account = f"acct_{uuid.uuid4().hex[:12]}"
        world.fake.configure(connected=[self.account])
        self.person = world.change(f"/v1/accounts/{self.account}/persons", first_name="Old")["id"]
        world.change(f"/v1/accounts/{self.account}", email="old@example.com")

    def client(self, cache: StripeCache, **options: Any) -> stripe.StripeClient:
        return self.world.client(cache, max_network_retries=0, **options)

    def read(self, client: stripe.StripeClient) -> dict[str, tuple[str, str]]:
        """Return what each way of reading says, and how it was answered."""
        accounts, itself = client.v1.accounts, {"stripe_account": self.account}
        answers: dict[str, Any] = {
            "by id": accounts.retrieve(self.account),
            "person": accounts.persons.retrieve(self.account, self.person),
            "persons": accounts.persons.list(self.account),
            "itself": accounts.retrieve_current(options=itself),  # type: ignore[arg-type]
            "itself by id": accounts.retrieve(self.account, options=itself),  # type: ignore[arg-type]
            "its person": accounts.persons.retrieve(self.account, self.person, options=itself),  # type: ignore[arg-type]
        }
        said = {}
        for name, answer in answers.items():
            shown = answer.data[0] if name == "persons" else answer
            said[name] = (shown.first_name if "person" in name else shown.email, status_of(answer))
        return said

    def values(self, client: stripe.StripeClient) -> set[str]:
        return {value for value, _ in self.read(client).values()}

    def fill(self, *clients: stripe.StripeClient) -> None:
        for client in clients:
            self.read(client)
            assert all("hit" in status for _, status in self.read(client).values())

    def event(self, kind: str) -> dict[str, Any]:
        """Describe the newest event of a type as Stripe sends it to a Connect endpoint."""
        listed = self.world.fake.truth("/v1/events?limit=5", account=self.account)["data"]
        found: dict[str, Any] = next(one for one in listed if one["type"] == kind)
        return found | {"account": self.account}


@pytest.fixture
def readers(world: World) -> Readers:
    return Readers(world)


def breakable(world: World, clock: FakeClock, meter: RecordingMeter) -> tuple[StripeCache, dict[str, PartlyAway]]:
    """Make a cache over the real shared tiers, each with a fault double inside its guard."""
    faulty = {
        tier.name: PartlyAway(tier._tier)  # type: ignore[attr-defined]
        for tier in shared_tiers(world.settings(), clock, meter)
    }
    guarded = tuple(GuardedTier(tier, 60.0, clock, meter) for tier in faulty.values())
    return world.cache("redis", "dynamodb", clock=clock, meter=meter, shared=guarded), faulty


def test_a_connect_event_is_read_by_the_account_and_by_the_platform(readers: Readers) -> None:
    receiver = readers.world.cache("redis", "dynamodb")
    clients = [readers.client(readers.world.cache(memory_max_lag=0.0)) for _ in range(2)]
    readers.fill(*clients)
    readers.world.change(f"/v1/accounts/{readers.account}", email="new@example.com")
    receiver.apply_event(readers.event("account.updated"))
    readers.world.change(f"/v1/accounts/{readers.account}/persons/{readers.person}", first_name="New")
    receiver.apply_event(readers.event("person.updated"))
    for client in clients:
        assert readers.values(client) == {"new@example.com", "New"}


WRITERS = {"platform": {}, "account": {"stripe_account": True}}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_write_by_either_is_read_by_both_at_once(readers: Readers, writer: str) -> None:
    options: Any = {"stripe_account": readers.account} if WRITERS[writer] else {}
    client, other = (readers.client(readers.world.cache(memory_max_lag=lag)) for lag in (60.0, 0.0))
    readers.fill(client, other)
    client.v1.accounts.update(readers.account, {"email": "new@example.com"}, options=options)
    client.v1.accounts.persons.update(readers.account, readers.person, {"first_name": "New"}, options=options)
    for one in (client, other):
        assert readers.values(one) == {"new@example.com", "New"}
    readers.fill(client, other)
    made = client.v1.accounts.persons.create(readers.account, {"first_name": "Second"}, options=options)
    for itself in ({}, {"stripe_account": readers.account}):
        listed = client.v1.accounts.persons.list(readers.account, options=itself)  # type: ignore[arg-type]
        assert made.id in [one.id for one in listed.data]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_write_without_an_answer_is_held_in_both_namespaces(readers: Readers, writer: str, clock: FakeClock) -> None:
    options: Any = {"stripe_account": readers.account} if WRITERS[writer] else {}
    world = readers.world
    client = readers.client(world.cache(clock=clock))
    readers.fill(client)
    world.fake.configure(faults=[{"kind": "error", "path": "POST"}])
    with pytest.raises(stripe.APIError):
        client.v1.accounts.update(readers.account, {"email": "late@example.com"}, options=options)
    world.fake.configure(faults=[])
    other = readers.client(world.cache("redis", "dynamodb", clock=clock))
    accounts = {"by id", "itself", "itself by id"}
    for one in (client, other):
        assert {status for name, (_, status) in readers.read(one).items() if name in accounts} == {HELD}
    # Stripe performs it after all. Nobody has kept what was there before.
    world.change(f"/v1/accounts/{readers.account}", email="late@example.com")
    for one in (client, other):
        assert {value for name, (value, _) in readers.read(one).items() if name in accounts} == {"late@example.com"}
    clock.advance(HOLD_SECONDS + 1)
    assert {status for name, (_, status) in readers.read(other).items() if name in accounts} == {MISS}


def test_an_answered_write_leaves_no_hold_in_either_namespace(readers: Readers) -> None:
    client = readers.client(readers.world.cache("redis", "dynamodb"))
    for options in ({}, {"stripe_account": readers.account}):
        client.v1.accounts.update(readers.account, {"email": "new@example.com"}, options=options)  # type: ignore[arg-type]
        readers.fill(client)


@pytest.mark.parametrize("dead", ["redis", "dynamodb"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_write_that_a_tier_misses_is_read_back_by_its_writer_in_both_ways(
    readers: Readers, writer: str, dead: str, clock: FakeClock, meter: RecordingMeter
) -> None:
    options: Any = {"stripe_account": readers.account} if WRITERS[writer] else {}
    cache, tiers = breakable(readers.world, clock, meter)
    client = readers.client(cache)
    readers.fill(client)
    tiers[dead].kill()
    client.v1.accounts.update(readers.account, {"email": "new@example.com"}, options=options)
    assert "old@example.com" not in readers.values(client)
    tiers[dead].revive()
    clock.advance(60)
    # What it could not tell the tier of, in both namespaces, it tells before it reads from there again.
    next(tier for name, tier in tiers.items() if name != dead).losing.add("read")
    assert "old@example.com" not in readers.values(client)
    assert "old@example.com" not in readers.values(readers.client(readers.world.cache(dead)))


@pytest.mark.parametrize("missing", ["platform", "account"])
def test_an_event_that_one_namespace_missed_is_not_confirmed_and_told_when_it_comes_again(
    readers: Readers, clock: FakeClock, meter: RecordingMeter, missing: str
) -> None:
    cache, tiers = breakable(readers.world, clock, meter)
    client = readers.client(readers.world.cache("redis", "dynamodb"))
    readers.fill(client)
    readers.world.change(f"/v1/accounts/{readers.account}", email="new@example.com")
    event = readers.event("account.updated")
    tiers["redis"].away = {"platform": readers.world.account, "account": readers.account}[missing]
    with pytest.raises(InvalidationError, match="call it again"):
        cache.apply_event(event)
    by_whom = "itself" if missing == "account" else "by id"
    said = readers.read(client)
    assert said[by_whom][0] == "old@example.com"
    assert "new@example.com" in {value for value, _ in said.values()}, "the other namespace was told all the same"
    tiers["redis"].away = ""
    cache.apply_event(event)
    assert "old@example.com" not in readers.values(client)


@pytest.mark.parametrize("told", ["by an event", "by a write"])
def test_a_context_may_name_the_operator_whose_label_does_not_say_who_it_is(world: World, told: str) -> None:
    cache = world.cache("redis", "dynamodb", namespace=f"shop-{world.account}")
    client = world.client(cache)
    in_context: Any = {"headers": {"Stripe-Context": world.account}}
    world.seed()

    def listed() -> list[tuple[set[str], str]]:
        found = [client.v1.customers.list({"limit": 5}, options=way) for way in ({}, in_context)]  # type: ignore[arg-type]
        return [({member.id for member in one.data}, status_of(one)) for one in found]

    listed()
    assert all("hit" in status for _, status in listed())
    if told == "by a write":
        made = client.v1.customers.create({"name": "New"}, options=in_context).id
    else:
        made = world.change("/v1/customers", name="New")["id"]
        event = {"id": "evt_1", "object": "v2.core.event", "type": "v1.customer.created", "livemode": False}
        about = {"id": made, "type": "customer", "url": f"/v1/customers/{made}"}
        cache.apply_event(
            event | {"context": world.account, "created": "2026-01-01T00:00:00Z", "related_object": about}
        )
    # The new one is in neither list as it was cached: what names it by its id alone voids none of them.
    assert [made in members for members, _ in listed()] == [True, True]


def test_what_was_read_for_an_account_is_gone_when_it_leaves_and_nothing_else(readers: Readers) -> None:
    world, ours = readers.world, {"stripe_account": readers.account}
    other = Readers(world)
    writer, receiver = (world.cache("redis", "dynamodb") for _ in range(2))
    client = readers.client(writer)
    world.fake.mutate("/v1/customers", account_=readers.account, name="theirs")
    readers.fill(client)
    other.fill(client)

    def status(**options: Any) -> str:
        return status_of(client.v1.customers.list({"limit": 1}, options=options))  # type: ignore[arg-type]

    assert [status(**ours), status(**ours), status(), status()][::2] == [MISS, MISS]
    event = readers.event("account.updated") | {
        "id": "evt_gone",
        "type": "account.application.deauthorized",
        "data": {"object": {"id": "ca_1", "object": "application"}},
    }
    receiver.apply_event(event)
    assert status(**ours) == MISS
    assert "hit" in status()
    assert {name: state for name, (_, state) in readers.read(client).items() if "its" in name} == {
        "itself": MISS,
        "itself by id": MISS,
        "its person": MISS,
    }
    assert "hit" in other.read(client)["its person"][1]
