"""Every prop of every public construct: a value of another type is refused by the prop's name, never inside CDK."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_sqs as sqs
from constructs import Construct
from functions import plain
from synthesis import make_app

import stripe_cache_cdk
from stripe_cache_cdk import (
    Bundle,
    CacheNetwork,
    ConstructError,
    EventBridgeSource,
    Events,
    FunctionOptions,
    Monitoring,
    PeriodicInvocation,
    RedisTier,
    RefreshConsumer,
    RuntimeFunction,
    RuntimeOptions,
    StageError,
    StripeCache,
    Thresholds,
    UsageCaps,
    WebhookEndpoint,
)
from stripe_cache_cdk.constructs.props import kinds_of

CONSTRUCTS: dict[str, type[Construct]] = {
    name: made
    for name, made in vars(stripe_cache_cdk).items()
    if name in stripe_cache_cdk.__all__ and isinstance(made, type) and issubclass(made, Construct)
}
NOT_CHECKED = {"scope", "construct_id", "vpc_placement"}
PROPS = [
    (name, parameter.name, str(parameter.annotation))
    for name, made in CONSTRUCTS.items()
    for parameter in inspect.signature(inspect.unwrap(made.__init__)).parameters.values()
    if parameter.name not in {"self", *NOT_CHECKED}
]
VALUES = (FunctionOptions, RuntimeOptions, Thresholds, UsageCaps, Bundle)
# What somebody may well write, by the type that is wanted; None and a class in place of an object are tried everywhere.
WRITTEN: dict[str, tuple[Any, ...]] = {
    "int": ("3", True, 2.5, [1]),
    "float": ("1", True, float("nan")),
    "bool": ("false", 0, []),
    "str": (5, b"text", ["text"]),
    "Sequence[str]": ("sqs", {"sqs": 1}, [1], b"sqs"),
    "tuple[str, ...]": ("encryption", (1,)),
    "Sequence[Path]": ("sources", ("sources",)),
    "Path": ("requirements.txt",),
    "cdk.Duration": (10, "10s"),
    "cdk.RemovalPolicy": ("RETAIN",),
    "logs.RetentionDays": (30,),
    "Mapping[str, Any]": (["price"], {1: 2}),
    "Mapping[str, str]": ({"NAME": 1}, "NAME=1"),
}


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    """Return a stack, and what the constructs need at least; a refused prop leaves both as they are."""
    stack = cdk.Stack(make_app(), "Test")
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL, refresh=True)
    needed = {
        "cache": cache,
        "function": RuntimeFunction(stack, "Function", handler="a.b"),
        "handler": "a.b",
        "every": cdk.Duration.minutes(5),
        "bus_name": "aws.partner/stripe.com/ed_1",
        "queue": cache.invalidation_queue,
        "network": None,
    }
    return {"stack": stack, "needed": needed}


@pytest.mark.parametrize(("construct", "prop", "annotation"), PROPS)
def test_a_prop_of_another_type_is_named_with_the_remedy(
    world: dict[str, Any], construct: str, prop: str, annotation: str
) -> None:
    kinds = annotation.split(" | ")
    wrong = [sqs.Queue, object(), *(value for kind in kinds for value in WRITTEN.get(kind, ()))]
    if "None" not in kinds:
        wrong.append(None)
    make = CONSTRUCTS[construct]
    wanted = inspect.signature(inspect.unwrap(make.__init__)).parameters
    for number, value in enumerate(wrong):
        props = {name: given for name, given in world["needed"].items() if name in wanted} | {prop: value}
        name = f"{construct}{prop}{number}"
        with pytest.raises(ConstructError, match=rf"^Test/{name}: {prop}\b.*: (give|choose one of) \w"):
            make(world["stack"], name, **props)


@pytest.mark.parametrize(
    ("made", "field", "annotation"),
    [(made, field.name, str(field.type)) for made in VALUES for field in dataclasses.fields(made)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_field_of_another_type_is_named_with_the_remedy(made: Any, field: str, annotation: str) -> None:
    for value in (sqs.Queue, object(), *WRITTEN.get(annotation.removesuffix(" | None"), ())):
        with pytest.raises(StageError, match=rf"^(\w+\.)?{field}=.*: (give|choose one of) \w"):
            used(made(**{field: value}))


def used(value: Any) -> None:
    # Some are checked by the construct that uses them, which the error can then name.
    if hasattr(value, "check"):
        value.check()


def test_every_public_construct_was_tried() -> None:
    assert len(CONSTRUCTS) == 16
    assert {construct for construct, _, _ in PROPS} == set(CONSTRUCTS)


def test_a_type_that_nobody_can_check_stops_the_import() -> None:
    with pytest.raises(KeyError, match="decimal"):
        kinds_of("decimal.Decimal | None")


@pytest.mark.parametrize(
    ("make", "props", "told"),
    [
        (Monitoring, {"thresholds": {}}, "thresholds={}: give Thresholds(...)"),
        (
            Monitoring,
            {"object_types": ["Customer"]},
            "object_types='Customer': give names of Stripe objects such as customer",
        ),
        (Monitoring, {"alarm_email": "nobody"}, "alarm_email='nobody': give one e-mail address, or nothing"),
        (RuntimeFunction, {"timeout": 10}, "timeout=10: give a duration such as cdk.Duration.minutes(5)"),
        (RuntimeFunction, {"timeout": cdk.Duration.minutes(16)}, "timeout=960: give 1 to 900 seconds"),
        (RuntimeFunction, {"timeout": cdk.Duration.millis(1_500)}, "timeout=1.5: give 1 to 900 seconds"),
        (RuntimeFunction, {"memory_mb": 64}, "memory_mb=64: give 128 to 10240 MB"),
        (RuntimeFunction, {"reserved_concurrency": -1}, "reserved_concurrency=-1: give 0 to 1000000 sandboxes"),
        (
            PeriodicInvocation,
            {"payload": {"at": cdk.Duration.minutes(1)}},
            (
                "payload is no JSON (Object of type Duration is not JSON serializable): give a mapping of names to "
                "texts, numbers and lists"
            ),
        ),
        (RuntimeFunction, {"vpc": "vpc-1"}, "vpc='vpc-1': give a VPC such as ec2.Vpc.from_lookup(...)"),
        (CacheNetwork, {"interface_endpoints": "sqs"}, "interface_endpoints='sqs': give a list of texts"),
        (RefreshConsumer, {"most_at_once": 1}, "most_at_once=1: give 2 to 1000 sandboxes, which are the bounds of SQS"),
        (
            EventBridgeSource,
            {"queue": sqs.Queue},
            "queue=the class Queue: give an InvalidationQueue such as cache.invalidation_queue",
        ),
    ],
)
def test_what_people_write_is_told_in_these_words(
    world: dict[str, Any], request: pytest.FixtureRequest, make: Any, props: dict[str, Any], told: str
) -> None:
    name = str(abs(hash(request.node.name)))
    wanted = inspect.signature(inspect.unwrap(make.__init__)).parameters
    needed = {given: value for given, value in world["needed"].items() if given in wanted}
    with pytest.raises(ConstructError, match=rf"^Test/{name}: {re.escape(told)}$"):
        make(world["stack"], name, **needed | props)


def test_a_function_outside_any_vpc_is_not_let_in_by_a_security_group(stack: cdk.Stack) -> None:
    tier = RedisTier(stack, "Redis", network=CacheNetwork(stack, "Network"))
    with pytest.raises(ConstructError, match=r"^Test/Redis: peer=Test/Mine \(Function\) is in no VPC: make it in"):
        tier.allow_from(plain(stack))
    tier.allow_from(plain(stack, "Inside", vpc=tier.network.vpc if tier.network else None))


def test_an_environment_is_named_without_its_values(stack: cdk.Stack) -> None:
    told = re.escape("environment={'KEY': ..., 'SIZE': ...}: give a mapping of texts to texts")
    environment: Any = {"KEY": "sk_live_1", "SIZE": 3}
    with pytest.raises(ConstructError, match=rf"^Test/F: {told}$"):
        RuntimeFunction(stack, "F", handler="a.b", environment=environment)


def test_methods_name_their_arguments_too(stack: cdk.Stack) -> None:
    cache: Any = StripeCache(stack, "Cache")
    for call, told in (
        (lambda: cache.attach(plain(stack, "A"), read_only="no"), "read_only='no': give True or False"),
        (
            lambda: cache.attach(plain(stack, "B"), settings={"audit_rate": 1}),
            "settings={'audit_rate': ...}: give Runt",
        ),
        (lambda: cache.dynamo.grant_cache_access("role"), "grantee='role': give a function or a role"),
    ):
        with pytest.raises(ConstructError, match=rf"^Test/Cache(/Dynamo)?: {re.escape(told)}"):
            call()


def test_numbers_known_at_deployment_only_pass_where_cloudformation_takes_them(stack: cdk.Stack) -> None:
    most = cdk.CfnParameter(stack, "Most", type="Number").value_as_number
    RuntimeFunction(stack, "Mine", handler="a.b", reserved_concurrency=most, memory_mb=most)
    cache = StripeCache(stack, "Cache", events=Events.EXTERNAL, monitoring=False)
    WebhookEndpoint(stack, "Hook", cache=cache, reserved_concurrency=most)
    with pytest.raises(
        ConstructError, match=r"^Test/Rated: rate is known at deployment only: give 1 to 10000 requests"
    ):
        WebhookEndpoint(stack, "Rated", cache=cache, rate=most)
    text = cdk.CfnParameter(stack, "Text").value_as_string
    with pytest.raises(ConstructError, match=r"^Test/Named: namespace is known at deployment only: give 1 to 64"):
        StripeCache(stack, "Named", namespace=text)
    with pytest.raises(ConstructError, match=r"^Test/Redis: shards is known at deployment only: give 1 to 45 shards"):
        RedisTier(stack, "Redis", network=None, shards=most)


def test_subnets_and_groups_of_a_function_are_checked(stack: cdk.Stack) -> None:
    vpc = ec2.Vpc(stack, "Vpc", restrict_default_security_group=False)
    for name, value in (("vpc_subnets", "subnet-1"), ("security_groups", "sg-1"), ("security_groups", ["sg-1"])):
        with pytest.raises(ConstructError, match=rf"^Test/F: {name}=.*: give "):
            RuntimeFunction(stack, "F", handler="a.b", vpc=vpc, **{name: value})
