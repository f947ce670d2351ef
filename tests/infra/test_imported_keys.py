"""Keys whose policy is somebody else's to write: what they must say is said at synthesis."""

from __future__ import annotations

import aws_cdk as cdk
import pytest
from aws_cdk import assertions
from aws_cdk import aws_kms as kms
from synthesis import make_app

from stripe_cache_cdk import CacheNetwork, EventBridgeSource, Events, FunctionOptions, InvalidationQueue, StripeCache

ARN = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"


def key_of(stack: cdk.Stack, *, imported: bool) -> kms.IKey:
    return kms.Key.from_key_arn(stack, "Key", ARN) if imported else kms.Key(stack, "Key")


def said_of_key(stack: cdk.Stack) -> list[str]:
    found = assertions.Annotations.from_stack(stack).find_warning("/Test/Key", assertions.Match.any_value())
    return [str(one.entry.data).partition(" [ack")[0] for one in found]


@pytest.mark.parametrize("imported", [True, False])
def test_the_owner_of_a_key_is_told_what_logs_need_once(stack: cdk.Stack, *, imported: bool) -> None:
    key = key_of(stack, imported=imported)
    # Three log groups and a fourth: of two functions, an API and a network.
    StripeCache(stack, "Cache", function_options=FunctionOptions(log_key=key), monitoring=False)
    CacheNetwork(stack, "Network", encryption_key=key)
    told = (
        "the key was imported, so its policy stays as it is: its owner must let logs.REGION.amazonaws.com kms:Encrypt, "
        "kms:Decrypt, kms:ReEncrypt*, kms:GenerateDataKey*, kms:DescribeKey, or the log group is not created"
    )
    assert said_of_key(stack) == ([told] if imported else [])


@pytest.mark.parametrize("imported", [True, False])
def test_the_owner_of_a_key_is_told_what_events_need(stack: cdk.Stack, *, imported: bool) -> None:
    queue = InvalidationQueue(stack, "Queue", encryption_key=key_of(stack, imported=imported))
    EventBridgeSource(stack, "Bus", bus_name="aws.partner/stripe.com/ed_1", queue=queue)
    told = (
        "the key was imported, so its policy stays as it is: its owner must let events.amazonaws.com "
        "kms:GenerateDataKey, kms:Decrypt, or what it sends to the queue is lost"
    )
    assert said_of_key(stack) == ([told] if imported else [])


def test_the_region_is_named_where_it_is_known() -> None:
    stack = cdk.Stack(make_app(), "Test", env=cdk.Environment(account="123456789012", region="us-east-1"))
    key = key_of(stack, imported=True)
    StripeCache(
        stack, "Cache", function_options=FunctionOptions(log_key=key), events=Events.NONE, purge=True, monitoring=False
    )
    (told,) = said_of_key(stack)
    assert "its owner must let logs.us-east-1.amazonaws.com kms:Encrypt" in told


def test_a_key_that_nobody_else_must_use_is_not_talked_about(stack: cdk.Stack) -> None:
    StripeCache(stack, "Cache", encryption_key=key_of(stack, imported=True), monitoring=False)
    assert said_of_key(stack) == []
