"""Who may put something into which queue, and who takes it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import assertions
from aws_cdk import aws_lambda_event_sources as event_sources
from functions import plain
from synthesis import of_function, render, resources

from stripe_cache_cdk import (
    ConstructError,
    EntitlementsEndpoint,
    EventBridgeSource,
    Events,
    InvalidationQueue,
    Reconciler,
    RefreshConsumer,
    RuntimeFunction,
    StripeCache,
    Topology,
    WebhookEndpoint,
)
from stripe_cache_cdk.constructs import environment as env

if TYPE_CHECKING:
    from collections.abc import Iterable


def senders_to(queue: Any, template: dict[str, Any]) -> list[str]:
    """Return the policies that allow sending to a queue, whatever else their statements allow."""

    def listed(value: Any) -> list[Any]:
        return value if isinstance(value, list) else [value]

    return [
        name
        for name, policy in resources(template, "AWS::IAM::Policy").items()
        if any(
            "sqs:SendMessage" in listed(statement["Action"]) and queue in listed(statement["Resource"])
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        )
    ]


def of_names(names: Iterable[str], *starts: str) -> bool:
    """Tell whether each name starts with one of `starts`, and there is one for each of them."""
    found = list(names)
    return len(found) == len(starts) and all(any(name.startswith(start) for name in found) for start in starts)


def test_whoever_changes_the_cache_may_queue_and_nobody_else(stack: cdk.Stack) -> None:
    """A client's write is done whether or not each tier could be told: what could not is queued by who wrote."""
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL, purge=True, monitoring=False)
    WebhookEndpoint(stack, "Hook", cache=cache)
    EntitlementsEndpoint(stack, "Sample", cache=cache)
    Reconciler(stack, "Reconciler", cache=cache)
    cache.attach(RuntimeFunction(stack, "Voider", handler="mine.handler"), calls_stripe=False)
    cache.attach(RuntimeFunction(stack, "Reader", handler="mine.handler"), read_only=True)
    writers = ("HookFunction", "HookConsumerFunction", "SampleFunction", "ReconcilerFunction", "Voider")
    template = render(stack)
    queue = stack.resolve(cache.invalidation_queue.queue.queue_arn)
    assert of_names(senders_to(queue, template), *(f"{name}Role" for name in writers))
    told = [
        name
        for name, function in resources(template, "AWS::Lambda::Function").items()
        if env.INVALIDATION_QUEUE_URL in function["Properties"]["Environment"]["Variables"]
    ]
    assert of_names(told, *writers)


def test_refreshes_are_asked_for_by_readers_and_made_by_one_function(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", refresh=True)
    reader, voider = (RuntimeFunction(stack, name, handler="mine.handler") for name in ("Reader", "Voider"))
    cache.attach(reader)
    cache.attach(voider, calls_stripe=False)
    template = render(stack)
    told = [
        name
        for name, function in resources(template, "AWS::Lambda::Function").items()
        if env.REFRESH_QUEUE_URL in function["Properties"]["Environment"]["Variables"]
    ]
    assert [name.startswith("Reader") for name in told] == [True]
    queue = stack.resolve(cache.refresh_queue.queue.queue_arn)
    assert of_names(senders_to(queue, template), "ReaderRole")
    (mapping,) = [
        found["Properties"]
        for found in resources(template, "AWS::Lambda::EventSourceMapping").values()
        if found["Properties"]["EventSourceArn"] == queue
    ]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
    refresher = of_function(template, "CacheRefreshFunction")
    assert refresher["Handler"] == "stripe_cache.handlers.refresh.handler"
    assert env.API_KEY_SECRET in refresher["Environment"]["Variables"]
    (kept,) = [
        found["Properties"]
        for key, found in resources(template, "AWS::SQS::Queue").items()
        if key.startswith("CacheRefreshesQueue")
    ]
    assert kept["VisibilityTimeout"] >= 6 * refresher["Timeout"]
    assert kept["SqsManagedSseEnabled"] is True
    assert kept["RedrivePolicy"]["maxReceiveCount"] == 3


def test_what_is_hot_is_noted_by_readers_and_asked_for_by_who_applies_events(stack: cdk.Stack) -> None:
    cache = StripeCache(
        stack,
        "Cache",
        topology=Topology.PUBLIC_VALKEY,
        refresh=True,
        refresh_hot=True,
        events=Events.EXTERNAL,
        monitoring=False,
    )
    WebhookEndpoint(stack, "Hook", cache=cache)
    RefreshConsumer(stack, "Refresh", cache=cache)
    Reconciler(stack, "Reconciler", cache=cache)
    cache.attach(RuntimeFunction(stack, "Reader", handler="mine.handler"))
    cache.attach(RuntimeFunction(stack, "Looker", handler="mine.handler"), read_only=True)
    template = render(stack)
    functions = resources(template, "AWS::Lambda::Function")
    for name in (env.REFRESH_HOT, env.REFRESH_QUEUE_URL):
        told = [key for key, found in functions.items() if name in found["Properties"]["Environment"]["Variables"]]
        # The consumer of refreshes reads what is hot because it was asked to, and must not take that for a reader.
        assert of_names(told, "HookFunction", "HookConsumerFunction", "ReconcilerFunction", "Reader"), name
    queue = stack.resolve(cache.refresh_queue.queue.queue_arn)
    roles = ("HookFunctionRole", "HookConsumerFunctionRole", "ReconcilerFunctionRole", "ReaderRole")
    assert of_names(senders_to(queue, template), *roles)


@pytest.mark.parametrize("props", [{"topology": Topology.PUBLIC_VALKEY}, {"refresh": True}, {}])
def test_refreshing_what_is_hot_needs_a_queue_and_redis(stack: cdk.Stack, props: dict[str, Any]) -> None:
    with pytest.raises(ConstructError, match=r"^Test/Cache: refresh_hot needs .*: pass refresh=True and topology"):
        StripeCache(stack, "Cache", refresh_hot=True, **props)


def test_without_refreshes_there_is_no_queue_for_them(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache")
    with pytest.raises(ConstructError, match=r"^Test/Cache: .*refresh=False.*: make it with refresh=True"):
        _ = cache.refresh_queue


def unread(stack: cdk.Stack, path: str) -> list[str]:
    found = assertions.Annotations.from_stack(stack).find_warning(f"/Test/{path}", assertions.Match.any_value())
    return [
        str(one.entry.data) for one in found if "no function of this app works on this queue" in str(one.entry.data)
    ]


def test_a_queue_that_nobody_reads_is_warned_of(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL, refresh=True, monitoring=False)
    EventBridgeSource(stack, "Events", bus_name="aws.partner/stripe.com/ed_1", queue=cache.invalidation_queue)
    InvalidationQueue(stack, "Alone")
    (told,) = unread(stack, "Cache/Invalidations")
    assert told.split(": ")[1].startswith("make an InvalidationConsumer")
    (told,) = unread(stack, "Cache/Refreshes")
    assert told.split(": ")[1].startswith("make a RefreshConsumer")
    assert len(unread(stack, "Alone")) == 1


def test_any_consumer_will_do_before_or_after_in_whatever_stack(stack: cdk.Stack) -> None:
    other = cdk.Stack(stack.node.root, "Other")
    house = StripeCache(stack, "Cache", events=Events.EXTERNAL, refresh=True, monitoring=False)
    WebhookEndpoint(other, "Hook", cache=house)
    RefreshConsumer(stack, "Refresh", cache=house)
    alone = InvalidationQueue(stack, "Alone")
    plain(other, "Theirs").add_event_source(event_sources.SqsEventSource(alone.queue))
    for path in ("Cache/Invalidations", "Cache/Refreshes", "Alone"):
        assert unread(stack, path) == []
