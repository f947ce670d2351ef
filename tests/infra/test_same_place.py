"""Things of another region or account: refused by the path of whoever would use them, where both are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from functions import plain
from synthesis import make_app

from stripe_cache_cdk import CacheNetwork, ConstructError, FunctionOptions, Monitoring, StripeCache, Topology

if TYPE_CHECKING:
    from collections.abc import Callable

MINE, OTHER = "123456789012", "999999999999"
HERE, THERE = "eu-west-1", "us-east-1"
ZONES = ["a", "b"]
Props = dict[str, Any]


class Zoned(cdk.Stack):
    """A stack that knows its zones, so that nobody asks an account for them."""

    @property
    def availability_zones(self) -> list[str]:
        return ZONES


def in_vpc(**props: Any) -> Props:
    return {"topology": Topology.VPC_VALKEY, **props}


def imported_vpc(stack: cdk.Stack) -> Props:
    ids = ["subnet-00000001", "subnet-00000002"]
    return in_vpc(
        vpc=ec2.Vpc.from_vpc_attributes(
            stack, "Shared", vpc_id="vpc-1", availability_zones=ZONES, private_subnet_ids=ids, region=stack.region
        )
    )


def key_of(account: str) -> Callable[[cdk.Stack], kms.IKey]:
    return lambda stack: kms.Key.from_key_arn(stack, "Shared", f"arn:aws:kms:{stack.region}:{account}:key/abc")


def secret_of(account: str) -> Callable[[cdk.Stack], secretsmanager.ISecret]:
    return lambda stack: secretsmanager.Secret.from_secret_complete_arn(
        stack, "Shared", f"arn:aws:secretsmanager:{stack.region}:{account}:secret:stripe-AbCdEf"
    )


SHARED: dict[str, Callable[[cdk.Stack], Props]] = {
    "network": lambda stack: in_vpc(network=CacheNetwork(stack, "Shared")),
    "vpc": lambda stack: in_vpc(vpc=ec2.Vpc(stack, "Shared", restrict_default_security_group=False)),
    "vpc, imported": imported_vpc,
    "encryption_key": lambda stack: {"encryption_key": kms.Key(stack, "Shared")},
    "encryption_key, imported": lambda stack: {"encryption_key": key_of(stack.account)(stack)},
    "entry_key": lambda stack: {"entry_key": kms.Key(stack, "Shared")},
    "entry_key, imported": lambda stack: {"entry_key": key_of(MINE)(stack)},
    "api_key_secret": lambda stack: {"api_key_secret": secretsmanager.Secret(stack, "Shared")},
    "api_key_secret, imported": lambda stack: {"api_key_secret": secret_of(MINE)(stack)},
    "webhook_secret": lambda stack: {"events": "webhook", "webhook_secret": secretsmanager.Secret(stack, "Shared")},
    "log_key": lambda stack: {
        "events": "webhook",
        "function_options": FunctionOptions(log_key=kms.Key(stack, "Shared")),
    },
}
OF_ANOTHER_ACCOUNT = [name for name in SHARED if "imported" not in name] + ["encryption_key, imported"]


def attach(ours: cdk.Stack, props: Props) -> None:
    cache: Any = StripeCache
    cache(ours, "Cache", **({"monitoring": False, "events": "none"} | props)).attach(plain(ours))


def stacks(**theirs: str) -> tuple[cdk.Stack, cdk.Stack]:
    app = make_app()
    env = {"account": MINE, "region": HERE}
    return Zoned(app, "Ours", env=cdk.Environment(**env)), Zoned(app, "Theirs", env=cdk.Environment(**(env | theirs)))


@pytest.mark.parametrize("shared", SHARED)
def test_what_is_in_another_region_is_refused(shared: str) -> None:
    ours, theirs = stacks(region=THERE)
    name = shared.partition(",")[0]
    told = rf"^Ours/(Cache|Mine).*: {name}=Theirs/Shared is in region {THERE}, and this in {HERE}: pass one of the same"
    with pytest.raises(ConstructError, match=told):
        attach(ours, SHARED[shared](theirs))


@pytest.mark.parametrize("shared", OF_ANOTHER_ACCOUNT)
def test_what_is_in_another_account_is_refused(shared: str) -> None:
    ours, theirs = stacks(account=OTHER)
    name = shared.partition(",")[0]
    told = (
        rf"^Ours/(Cache|Mine).*: {name}=Theirs/Shared is in account {OTHER}, and this in {MINE}: pass one of the same"
    )
    with pytest.raises(ConstructError, match=told):
        attach(ours, SHARED[shared](theirs))


def test_what_another_account_may_share_and_what_nobody_knows_yet_is_taken(stack: cdk.Stack) -> None:
    ours, theirs = stacks()
    attach(ours, {"entry_key": key_of(OTHER)(theirs), "api_key_secret": secret_of(OTHER)(ours)})
    attach(stack, {"encryption_key": kms.Key.from_key_arn(stack, "Known", f"arn:aws:kms:{THERE}:{OTHER}:key/abc")})


@pytest.mark.parametrize(("what", "theirs", "mine"), [("region", THERE, HERE), ("account", OTHER, MINE)])
def test_monitoring_from_elsewhere_is_refused(what: str, theirs: str, mine: str) -> None:
    ours, elsewhere = stacks(**{what: theirs})
    cache = StripeCache(ours, "Cache", monitoring=False)
    told = rf"^Theirs/Monitoring: cache=Ours/Cache is in {what} {mine}, and this in {theirs}: .*a stack of {mine}$"
    with pytest.raises(ConstructError, match=told):
        Monitoring(elsewhere, "Monitoring", cache=cache)
