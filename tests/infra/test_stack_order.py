"""Stacks that would need each other: refused where the circle closes, and every other arrangement synthesized."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from functions import plain
from synthesis import make_app, render, resources, text_of

from stripe_cache_cdk import (
    CacheNetwork,
    ConstructError,
    FunctionOptions,
    PeriodicInvocation,
    RedisTier,
    RuntimeFunction,
    StripeCache,
    Topology,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ARN = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"
Props = dict[str, Any]


def own_vpc(stack: cdk.Stack) -> Props:
    vpc = ec2.Vpc(stack, "Shared", restrict_default_security_group=False)
    return {"topology": Topology.VPC_VALKEY, "vpc": vpc}


def own_network(stack: cdk.Stack) -> Props:
    return {"topology": Topology.VPC_VALKEY, "network": CacheNetwork(stack, "Shared")}


def own_key(name: str) -> Callable[[cdk.Stack], Props]:
    return lambda stack: {name: kms.Key(stack, "Shared")}


def own_log_key(stack: cdk.Stack) -> Props:
    return {"function_options": FunctionOptions(log_key=kms.Key(stack, "Shared"))}


def own_secret(name: str, **more: Any) -> Callable[[cdk.Stack], Props]:
    return lambda stack: {name: secretsmanager.Secret(stack, "Shared"), **more}


def imported_key(stack: cdk.Stack) -> Props:
    return {"encryption_key": kms.Key.from_key_arn(stack, "Shared", ARN)}


@pytest.fixture
def stacks() -> tuple[cdk.Stack, cdk.Stack]:
    """Return the cache's stack and that of the function."""
    app = make_app()
    return cdk.Stack(app, "Ours"), cdk.Stack(app, "Theirs")


@pytest.mark.parametrize(
    ("shared", "events", "who", "what"),
    [
        (own_vpc, "none", "Ours/Cache", "vpc"),
        (own_network, "none", "Ours/Cache", "network"),
        (own_key("encryption_key"), "none", "Ours/Cache", "encryption_key"),
        (own_key("entry_key"), "webhook", "Ours/Cache/Webhook/Function", "entry_key"),
        (own_secret("webhook_secret"), "webhook", "Ours/Cache/Webhook/Function", "webhook_secret"),
        (own_secret("api_key_secret", refresh=True), "webhook", "Ours/Cache/Refresh/Function", "api_key_secret"),
        (own_log_key, "webhook", "Ours/Cache/Webhook/Function", "log_key"),
    ],
)
def test_a_function_whose_stack_holds_what_the_caches_stack_needs_is_refused(
    stacks: tuple[cdk.Stack, cdk.Stack], shared: Callable[[cdk.Stack], Props], events: str, who: str, what: str
) -> None:
    ours, theirs = stacks
    cache: Any = StripeCache
    told = (
        r"^Theirs/Mine: its stack Theirs would need cache=Ours/Cache, and stack Ours needs Theirs already "
        rf"\({who} needs {what}=Theirs/Shared\): put what both need into a stack of its own, or all of them into one"
    )
    made = cache(ours, "Cache", monitoring=False, events=events, **shared(theirs))
    with pytest.raises(ConstructError, match=told):
        made.attach(plain(theirs))


@pytest.mark.parametrize(
    ("shared", "events"),
    [
        (imported_key, "webhook"),
        (own_key("entry_key"), "none"),
        (own_secret("webhook_secret"), "external"),
        (own_secret("api_key_secret"), "webhook"),
    ],
)
def test_what_only_the_function_needs_may_be_in_its_stack(
    stacks: tuple[cdk.Stack, cdk.Stack], shared: Callable[[cdk.Stack], Props], events: str
) -> None:
    ours, theirs = stacks
    cache: Any = StripeCache
    cache(ours, "Cache", monitoring=False, events=events, **shared(theirs)).attach(plain(theirs))
    ours.node.root.synth()  # type: ignore[attr-defined]  # The root is the app.
    assert theirs.dependencies == [ours]


@pytest.mark.parametrize("shared", [own_vpc, own_network, own_key("encryption_key"), own_key("entry_key")])
def test_a_stack_of_its_own_is_the_remedy(
    stacks: tuple[cdk.Stack, cdk.Stack], shared: Callable[[cdk.Stack], Props]
) -> None:
    ours, theirs = stacks
    third = cdk.Stack(ours.node.root, "Third")
    StripeCache(ours, "Cache", monitoring=False, **shared(third)).attach(plain(theirs))
    ours.node.root.synth()  # type: ignore[attr-defined]  # The root is the app.
    assert [stack.node.path for stack in ours.dependencies] == ["Third"]


def test_a_circle_that_a_later_function_closes_names_that_function(stacks: tuple[cdk.Stack, cdk.Stack]) -> None:
    ours, theirs = stacks
    cache = StripeCache(ours, "Cache", events="none", entry_key=kms.Key(theirs, "Shared"))  # type: ignore[arg-type]
    cache.attach(plain(theirs))
    told = r"^Ours/Late: its stack Ours would need entry_key=Theirs/Shared, .* \(Theirs/Mine needs cache=Ours/Cache\)"
    with pytest.raises(ConstructError, match=told):
        cache.attach(plain(ours, "Late"))


def test_an_order_that_somebody_gave_counts_too(stacks: tuple[cdk.Stack, cdk.Stack]) -> None:
    ours, theirs = stacks
    ours.add_stack_dependency(theirs, "the schema comes first")
    with pytest.raises(ConstructError, match=r"^Theirs/Mine: .* Ours needs Theirs already \(the schema comes first\)"):
        StripeCache(ours, "Cache", monitoring=False).attach(plain(theirs))


def test_nested_stacks_are_deployed_with_their_parents(stacks: tuple[cdk.Stack, cdk.Stack]) -> None:
    ours, theirs = stacks
    nested = cdk.NestedStack(theirs, "Nested")
    StripeCache(ours, "Cache", monitoring=False).attach(plain(nested))
    StripeCache(nested, "Inner", stage="inner", monitoring=False).attach(plain(theirs))
    ours.node.root.synth()  # type: ignore[attr-defined]  # The root is the app.
    told = r"^Ours/Locked: its stack Ours would need encryption_key=Theirs/Nested/Key, and stack Theirs needs Ours"
    with pytest.raises(ConstructError, match=told):
        StripeCache(ours, "Locked", encryption_key=kms.Key(nested, "Key"))


@pytest.mark.parametrize("open_outbound", [True, False])
def test_a_group_made_beside_the_vpc_is_let_in_by_rules_of_the_caches_stack(*, open_outbound: bool) -> None:
    app = make_app()
    base, ours, theirs = (cdk.Stack(app, name) for name in ("Base", "Ours", "Theirs"))
    vpc = ec2.Vpc(base, "Vpc", restrict_default_security_group=False)
    group = ec2.SecurityGroup(base, "Group", vpc=vpc, allow_all_outbound=open_outbound)
    cache = StripeCache(ours, "Cache", topology=Topology.VPC_VALKEY, vpc=vpc, monitoring=False)
    cache.attach(plain(theirs, vpc=vpc, security_groups=[group]))
    templates = {stack.node.path: render(stack) for stack in (base, ours)}
    for kind, wanted in (("Ingress", 2), ("Egress", 0 if open_outbound else 2)):
        rules = resources(templates["Ours"], f"AWS::EC2::SecurityGroup{kind}").values()
        ports = [rule["Properties"]["FromPort"] for rule in rules if "Base" in text_of(rule)]
        assert sorted(ports) == [6379, 6380][:wanted]
        assert not resources(templates["Base"], f"AWS::EC2::SecurityGroup{kind}")


def test_a_group_that_stays_in_the_way_is_named(stacks: tuple[cdk.Stack, cdk.Stack]) -> None:
    ours, theirs = stacks
    network = CacheNetwork(ours, "Network")
    tier = RedisTier(ours, "Redis", network=network)
    group = ec2.SecurityGroup(theirs, "Group", vpc=network.vpc)
    tier.allow_from(group)
    with pytest.raises(
        ConstructError, match=r"^Ours/Cache: .*encryption_key=Theirs/Key.*Theirs/Group needs cache=Ours"
    ):
        StripeCache(ours, "Cache", encryption_key=kms.Key(theirs, "Key"))


def test_a_schedule_in_another_stack_than_its_function_is_refused(stacks: tuple[cdk.Stack, cdk.Stack]) -> None:
    ours, theirs = stacks
    function = RuntimeFunction(ours, "Function", handler="h.h")
    told = r"^Theirs/Every: its function is in stack Ours and it in Theirs, .*: make it in Ours, where the function is$"
    with pytest.raises(ConstructError, match=told):
        PeriodicInvocation(theirs, "Every", function=function, every=cdk.Duration.minutes(1))
    assert not ours.dependencies
