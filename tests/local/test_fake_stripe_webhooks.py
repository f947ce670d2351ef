from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import stripe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.fake_stripe.client import FakeStripe

SECRET = "whsec_current"


@dataclass
class Received:
    body: bytes
    signature: str
    at: float


@dataclass
class Receiver:
    """A webhook endpoint that answers with the statuses it was given, then 200."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, count: int) -> list[Received]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.received) >= count, timeout=10), len(self.received)
            return list(self.received)

    def events(self, count: int) -> list[stripe.Event]:
        return [stripe.Webhook.construct_event(each.body, each.signature, SECRET) for each in self.wait(count)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = made.statuses.pop(0) if made.statuses else 200
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            with made.arrived:
                made.received.append(Received(body, self.headers["Stripe-Signature"], time.time()))
                made.arrived.notify_all()

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{web.server_port}/hook"
    thread = threading.Thread(target=web.serve_forever, args=(0.02,))
    thread.start()
    yield made
    web.shutdown()
    thread.join()
    web.server_close()


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_changes_arrive_as_events_that_the_sdk_verifies(fake: FakeStripe, receiver: Receiver) -> None:
    fake.configure(webhooks=[{"url": receiver.url, "secrets": [SECRET]}])
    made = fake.mutate("/v1/customers", name="Ada", metadata={"a": "1"})
    receiver.wait(1)
    fake.mutate(f"/v1/customers/{made['id']}", name="Ben", metadata={"a": "2"})
    receiver.wait(2)
    fake.mutate(f"/v1/customers/{made['id']}", "DELETE")
    created, updated, deleted = receiver.events(3)
    assert (created.type, updated.type, deleted.type) == (
        "customer.created",
        "customer.updated",
        "customer.deleted",
    )
    assert updated.data.object["name"] == "Ben"
    assert updated.data.to_dict()["previous_attributes"] == {"name": "Ada", "metadata": {"a": "1"}}
    assert not created.livemode
    assert "account" not in created


def test_a_wrong_secret_is_noticed_and_either_secret_of_a_roll_verifies(fake: FakeStripe, receiver: Receiver) -> None:
    fake.configure(webhooks=[{"url": receiver.url, "secrets": ["whsec_old", SECRET]}])
    fake.mutate("/v1/customers")
    got = receiver.wait(1)[0]
    assert got.signature.count("v1=") == 2
    for secret in ("whsec_old", SECRET):
        assert stripe.Webhook.construct_event(got.body, got.signature, secret).type == "customer.created"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(got.body, got.signature, "whsec_other")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(got.body + b" ", got.signature, SECRET)


def test_one_change_can_cause_several_events_and_all_are_listed(fake: FakeStripe) -> None:
    ids = fake.seed(1, 1)
    made = fake.mutate(
        "/v1/subscriptions", customer=ids["customers"][0], items=[{"price": ids["prices"][0], "quantity": 1}]
    )
    fake.mutate(f"/v1/customers/{ids['customers'][0]}", "DELETE")
    client = stripe.StripeClient("sk_test_a", base_addresses={"api": fake.url})
    types = [event.type for event in client.v1.events.list({"limit": 50}).data]
    assert types[::-1] == [
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
        "customer.subscription.created",
        "customer.subscription.deleted",
        "customer.subscription.deleted",
        "customer.deleted",
    ]
    only = client.v1.events.list({"type": "customer.subscription.created"}).data
    assert [event.data.object["id"] for event in only] == [made["id"]]
    assert client.v1.events.retrieve(only[0].id).type == only[0].type


def test_a_thin_event_points_at_its_object(fake: FakeStripe, receiver: Receiver) -> None:
    fake.configure(webhooks=[{"url": receiver.url, "secrets": [SECRET], "thin": True}])
    made = fake.mutate("/v1/customers", name="Ada")
    got = receiver.wait(1)[0]
    client = stripe.StripeClient("sk_test_a", base_addresses={"api": fake.url})
    notice = client.parse_event_notification(got.body, got.signature, SECRET)
    assert notice.type == "v1.customer.created"
    assert notice.related_object.url == f"/v1/customers/{made['id']}"
    assert notice.fetch_related_object().name == "Ada"
    assert notice.fetch_event().id == notice.id


def test_a_connected_accounts_event_names_it_and_goes_to_connect_endpoints_only(
    fake: FakeStripe, receiver: Receiver
) -> None:
    own = {"url": f"{receiver.url}?own", "secrets": [SECRET]}
    fake.configure(webhooks=[own, {"url": receiver.url, "secrets": [SECRET], "connect": True}])
    fake.mutate("/v1/customers", account_="acct_connected")
    (event,) = receiver.events(1)
    assert event.account == "acct_connected"
    assert [each["url"] for each in fake.deliveries()] == [receiver.url]


def test_an_endpoint_gets_only_its_types_and_mode(fake: FakeStripe, receiver: Receiver) -> None:
    fake.configure(
        webhooks=[{"url": receiver.url, "secrets": [SECRET], "types": ["product.created"], "livemode": True}]
    )
    fake.mutate("/v1/customers", livemode_=True)
    fake.mutate("/v1/products", name="test")
    fake.mutate("/v1/products", name="live", livemode_=True)
    (event,) = receiver.events(1)
    assert (event.type, event.livemode) == ("product.created", True)
    assert len(fake.deliveries()) == 1


def test_a_refused_delivery_is_repeated_with_a_fresh_signature_until_acknowledged(
    fake: FakeStripe, receiver: Receiver
) -> None:
    fake.configure(webhooks=[{"url": receiver.url, "secrets": [SECRET]}], delivery={"backoff_ms": 20})
    receiver.statuses = [500, 302]
    fake.mutate("/v1/customers")
    first, second, third = receiver.events(3)
    assert first.id == second.id == third.id
    assert eventually(lambda: fake.deliveries()[0]["acked_at"] is not None)
    (delivery,) = fake.deliveries()
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 302, 200]
    assert delivery["acked_at"] >= receiver.received[2].at - 0.05
    assert fake.counters()["webhooks"]["acked"] == 1


def test_a_receiver_that_is_down_is_given_up_on_after_the_last_retry(fake: FakeStripe) -> None:
    fake.configure(webhooks=[{"url": "http://127.0.0.1:9"}], delivery={"retries": 2, "backoff_ms": 1})
    fake.mutate("/v1/customers")
    assert eventually(lambda: fake.deliveries()[0]["given_up"])
    assert [attempt["status"] for attempt in fake.deliveries()[0]["attempts"]] == [0, 0, 0]


def test_events_without_an_acknowledged_delivery_can_be_listed(fake: FakeStripe, receiver: Receiver) -> None:
    client = stripe.StripeClient("sk_test_a", base_addresses={"api": fake.url})
    fake.configure(webhooks=[{"url": receiver.url, "secrets": [SECRET]}])
    fake.mutate("/v1/customers")
    assert eventually(lambda: fake.deliveries()[0]["acked_at"] is not None)
    fake.configure(delivery={"lose": 1.0})
    fake.mutate("/v1/products", name="lost")
    assert [event.type for event in client.v1.events.list({"delivery_success": False}).data] == ["product.created"]
    assert [event.type for event in client.v1.events.list({"delivery_success": True}).data] == ["customer.created"]


def test_events_can_be_late_lost_doubled_and_out_of_order(fake: FakeStripe, receiver: Receiver) -> None:
    endpoint = {"url": receiver.url, "secrets": [SECRET]}
    fake.configure(webhooks=[endpoint], delivery={"lose": 1.0})
    fake.mutate("/v1/customers")
    assert fake.deliveries()[0]["lost"]

    fake.configure(delivery={"duplicate": 1.0, "reorder_ms": 10})
    fake.mutate("/v1/customers")
    once, again = receiver.events(2)
    assert once.id == again.id

    fake.configure(delivery={"delay_ms": [300, 300]})
    sent = time.time()
    fake.mutate("/v1/customers")
    assert receiver.wait(3)[2].at - sent >= 0.29

    fake.configure(delivery={"reorder": 1.0, "reorder_ms": 200})
    names = [f"name {number}" for number in range(12)]
    for name in names:
        fake.mutate("/v1/products", name=name)
    arrived = [str(event.data.object["name"]) for event in receiver.events(15)[3:]]
    assert sorted(arrived) == sorted(names)
    assert arrived != names
