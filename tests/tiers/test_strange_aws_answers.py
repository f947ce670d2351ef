"""Answers of 200 that no service of AWS gives, through the real botocore: errors of a tier, and never good news."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from strange_aws import StrangeAws

from stripe_cache.core.clock import SystemClock
from stripe_cache.core.errors import KeyUnavailableError, TierError
from stripe_cache.core.outbox import Missed
from stripe_cache.core.ports import NullMeter
from stripe_cache.handlers.secrets import SecretError, Secrets
from stripe_cache.tiers import dynamodb_connection, kms_connection, sqs_connection
from stripe_cache.tiers.data_keys import DataKeys
from stripe_cache.tiers.dynamodb_table import Table
from stripe_cache.tiers.outbox_sqs import SqsOutbox
from stripe_cache.tiers.refresh_queue import SqsRefreshQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

N = "acct_1.test"
SECRET = "sk_live_quoted"
STRANGE = [b"[]", b"null", b'"x"', b"5", b"true", b"{}", b"", b"<html>proxy</html>", b'["%s"]' % SECRET.encode()]


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrangeAws]:
    with StrangeAws() as server:
        server.stand_in(monkeypatch)
        yield server


def refused(error: type[Exception], call: Callable[[], object]) -> None:
    """See that it fails, and quotes nothing."""
    with pytest.raises(error) as caught:
        call()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("body", [*STRANGE, b'{"MessageId": 5}', b'{"MessageId": ""}', b'{"MessageId": null}'])
def test_a_message_that_sqs_did_not_take_is_not_taken(strange: StrangeAws, body: bytes) -> None:
    strange.body = body
    client = sqs_connection.connect(10, 10)
    refused(TierError, lambda: SqsRefreshQueue(f"{strange.url}/q", lambda: client).send({"a": 1}))
    refused(TierError, lambda: SqsOutbox(f"{strange.url}/q", lambda: client).put(Missed(N, ("cus_1",), ("redis",))))
    strange.body = b'{"MessageId": "1"}'
    SqsOutbox(f"{strange.url}/q", lambda: client).put(Missed(N, ("cus_1",), ("redis",)))


@pytest.mark.parametrize("genuine", [False, True])
@pytest.mark.parametrize("body", STRANGE)
def test_nothing_is_read_from_or_written_to_something_else_than_a_table(
    *, strange: StrangeAws, body: bytes, genuine: bool
) -> None:
    strange.body = body
    strange.headers = [("x-amzn-RequestId", "1")] if genuine else []
    client = dynamodb_connection.connect(10)
    table = Table(lambda: client, "t")
    values = {":g": {"S": "1"}}
    refused(TierError, lambda: table.get_many(["a"], "pk, g"))
    refused(TierError, lambda: table.update("a", "SET g = :g", values))
    if not genuine:
        # With a request id `{}` is what DynamoDB says, and bodies that are no JSON come with none.
        refused(TierError, lambda: table.get("a", "pk, g", {}))
        refused(TierError, lambda: table.update("a", "SET g = :g", values, condition="attribute_exists(g)"))


@pytest.mark.parametrize(
    "found", [[], "x", 5, {"t": 5}, {"t": ["x"]}, {"t": [{}]}, {"t": [{"pk": {}}]}, {"t": [{"pk": []}]}]
)
def test_items_of_a_strange_shape_are_the_tiers_error(strange: StrangeAws, found: Any) -> None:
    strange.headers = [("x-amzn-RequestId", "1")]
    strange.body = json.dumps({"Responses": found}).encode()
    client = dynamodb_connection.connect(10)
    refused(TierError, lambda: Table(lambda: client, "t").get_many(["a"], "pk, g"))


@pytest.mark.parametrize(
    "body",
    [
        *STRANGE,
        b'{"Plaintext": "AA==", "CiphertextBlob": "AA=="}',
        b'{"Plaintext": 5, "CiphertextBlob": "AA=="}',
        b'{"Plaintext": "%s"}' % (b"A" * 24),
    ],
)
def test_nothing_is_sealed_with_what_is_no_key(strange: StrangeAws, body: bytes) -> None:
    strange.body = body
    client = kms_connection.connect(10)
    keys = DataKeys(["new"], lambda: client, SystemClock(), NullMeter())
    refused(KeyUnavailableError, lambda: keys.current(N))
    keys = DataKeys(["new"], lambda: client, SystemClock(), NullMeter())
    # Unavailable, not damaged: what lies there opens again when KMS is back.
    refused(KeyUnavailableError, lambda: keys.unwrap(N, int(SystemClock().now()), b"wrapped"))


@pytest.mark.parametrize("body", [*STRANGE, b'{"SecretString": 5}', b'{"SecretString": null}'])
def test_a_secret_that_cannot_be_read_is_said_to_be_so(strange: StrangeAws, body: bytes) -> None:
    strange.body = body
    refused(SecretError, lambda: Secrets(SystemClock()).values("name", "STRIPE_CACHE_SECRET"))
