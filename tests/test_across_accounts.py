"""Answers that show objects of two accounts, and answers under way while the other account tells of a change."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import stripe
from world import status_of

from stripe_cache.core import directives
from stripe_cache.core.answer import Response
from stripe_cache.core.plan import Plan, Request
from stripe_cache.core.steps import Ticket

if TYPE_CHECKING:
    from world import World

KEPT, NOT_KEPT = "stripe-cache; fwd=uri-miss; stored", "stripe-cache; fwd=uri-miss"


class Transfers(stripe.HTTPClient):
    """A Stripe of one transfer, with the payment that the connected account got by it."""

    name = "transfers"

    def __init__(self, account: str) -> None:
        super().__init__()
        self.payment = {"id": "py_1", "object": "charge", "description": "old", "livemode": False}
        self.transfer = {"id": "tr_1", "object": "transfer", "destination": account, "description": "old"}

    def request_with_retries(self, method: str, url: str, *_: Any, **__: Any) -> tuple[bytes, int, dict[str, str]]:
        if method == "post":
            self.payment["description"] = "new"
        expanded: dict[str, Any] = {
            "/v1/transfers/tr_1": {**self.transfer, "destination_payment": self.payment},
            "/v1/charges/py_1": {**self.payment, "source_transfer": self.transfer},
        }
        return json.dumps(expanded[urlsplit(url).path]).encode(), 200, {}


@pytest.mark.parametrize("told", ["by an event", "by a write"])
def test_a_connected_accounts_object_inside_an_answer_of_the_platform_is_void_with_it(world: World, told: str) -> None:
    account = f"acct_{uuid.uuid4().hex[:12]}"
    cache, stripes = world.cache(), Transfers(account)
    client = cache.client(world.key(), http_client=stripes)

    def shown() -> tuple[str, str]:
        read = client.v1.transfers.retrieve("tr_1", {"expand": ["destination_payment"]})
        return read.destination_payment.description, status_of(read)  # type: ignore[union-attr, return-value]

    shown()
    assert shown()[0] == "old"
    assert "hit" in shown()[1]
    if told == "by a write":
        client.v1.charges.update("py_1", {"description": "new"}, options={"stripe_account": account})
    else:
        stripes.payment["description"] = "new"
        event = {"id": "evt_1", "object": "event", "type": "charge.updated", "account": account, "livemode": False}
        cache.apply_event(event | {"data": {"object": stripes.payment}})
    assert shown() == ("new", KEPT)


def test_an_object_of_the_platform_inside_an_answer_of_a_connected_account_is_not_kept(world: World) -> None:
    """No write of the platform to a transfer, and no event of it, says in which account an answer embeds it."""
    account = f"acct_{uuid.uuid4().hex[:12]}"
    client = world.cache().client(world.key(), http_client=Transfers(account))
    for _ in range(2):
        read = client.v1.charges.retrieve("py_1", {"expand": ["source_transfer"]}, options={"stripe_account": account})
        assert status_of(read) == NOT_KEPT


EMBEDDING = "the platform, embedding"
SLOW = {
    EMBEDDING: ("/v1/transfers/tr_1", "", "charge.updated", {"id": "py_1", "object": "charge"}),
    "the platform": ("/v1/accounts/{account}", "", "account.updated", {"object": "account"}),
    "the account": ("/v1/account", "{account}", "person.updated", {"id": "person_1", "object": "person"}),
}


# A charge of the connected account has no event of the platform.
@pytest.mark.parametrize(
    ("who", "teller"),
    [
        (who, teller)
        for who in SLOW
        for teller in ("the platform", "the account")
        if (who, teller) != (EMBEDDING, "the platform")
    ],
)
def test_a_slow_answer_loses_against_what_the_other_namespace_was_told(world: World, who: str, teller: str) -> None:
    """The lease is taken in one namespace, and the change is told as the other one's."""
    account = f"acct_{uuid.uuid4().hex[:12]}"
    path, asker, kind, about = SLOW[who]
    old = {"id": "tr_1", "object": "transfer", "destination_payment": {"id": "py_1", "object": "charge"}}
    if "account" in path:
        old = {"id": account, "object": "account"}
    cache = world.cache("redis", "dynamodb")
    url = f"{world.fake.url}{path.format(account=account)}"
    asked = Request("get", url, world.key(), asker.format(account=account), "", "2026-10-28.endive")
    plan, reads = cache.engine.planner.plan(asked), cache.engine.reads
    assert isinstance(plan, Plan)
    ticket = reads.begin(plan, directives.NONE)
    assert isinstance(ticket, Ticket)
    body = {"account": account, "id": account, **about}
    event = {"id": "evt_1", "object": "event", "type": kind, "livemode": False, "data": {"object": body}}
    cache.apply_event(event | ({"account": account} if teller == "the account" else {}))
    answer = reads.complete(ticket, Response(200, {}, json.dumps(old).encode()))
    assert str(answer.status) == NOT_KEPT
    again = reads.begin(plan, directives.NONE)
    assert isinstance(again, Ticket)
    assert str(reads.complete(again, Response(200, {}, json.dumps(old).encode())).status) == KEPT
