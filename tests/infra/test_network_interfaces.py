"""Whose role may make network interfaces: Lambda creates no function in a VPC without that right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from functions import plain
from synthesis import render, resources, text_of

from stripe_cache_cdk import Events, RuntimeFunction, StripeCache, Topology
from stripe_cache_cdk.constructs.network_interfaces import VPC_POLICY

if TYPE_CHECKING:
    import aws_cdk as cdk

CREATE = "ec2:CreateNetworkInterface"


def vpc_in(stack: cdk.Stack) -> ec2.Vpc:
    return ec2.Vpc(stack, "Theirs", restrict_default_security_group=False)


def cache_in(stack: cdk.Stack, vpc: ec2.Vpc) -> StripeCache:
    return StripeCache(stack, "Cache", topology=Topology.VPC_VALKEY, vpc=vpc, events=Events.NONE, monitoring=False)


def own_role(stack: cdk.Stack, name: str, **props: Any) -> iam.Role:
    return iam.Role(stack, name, assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"), **props)


def managed(template: dict[str, Any], name: str) -> int:
    """Return how often the role's managed policies name the one for functions in a VPC."""
    (role,) = (found for key, found in resources(template, "AWS::IAM::Role").items() if key.startswith(name))
    return text_of(role["Properties"].get("ManagedPolicyArns", [])).count(VPC_POLICY)


def test_every_role_of_this_app_may_make_them_once(stack: cdk.Stack) -> None:
    vpc = vpc_in(stack)
    cache = cache_in(stack, vpc)
    shared = own_role(stack, "Shared")
    narrower = iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AWSLambdaENIManagementAccess")
    RuntimeFunction(stack, "Alone", handler="h.h", vpc=vpc)
    RuntimeFunction(stack, "Outside", handler="h.h")
    cache.attach(RuntimeFunction(stack, "Inside", handler="h.h", vpc=vpc))
    cache.attach(RuntimeFunction(stack, "MovedIn", handler="h.h"))
    cache.attach(plain(stack, "Made", vpc=vpc))
    cache.attach(plain(stack, "First", vpc=vpc, role=shared))
    cache.attach(plain(stack, "Second", role=shared))
    cache.attach(plain(stack, "Third", vpc=vpc, role=own_role(stack, "May", managed_policies=[narrower])))
    template = render(stack)
    for name in ("AloneRole", "InsideRole", "MovedInRole", "MadeServiceRole", "Shared"):
        assert managed(template, name) == 1, name
    assert managed(template, "OutsideRole") == managed(template, "May") == 0
    assert CREATE not in text_of(template)


def test_an_imported_role_gets_a_statement_where_it_takes_any(stack: cdk.Stack) -> None:
    vpc = vpc_in(stack)
    cache = cache_in(stack, vpc)
    for name in ("mutable", "immutable"):
        role = iam.Role.from_role_arn(stack, name, f"arn:aws:iam::123456789012:role/{name}", mutable=name == "mutable")
        cache.attach(plain(stack, f"Inside{name}", role=role, vpc=vpc))
        cache.attach(plain(stack, f"MovedIn{name}", role=role))
    template = render(stack)
    functions = resources(template, "AWS::Lambda::Function")
    policies = resources(template, "AWS::IAM::Policy")
    found = {name: policy["Properties"] for name, policy in policies.items() if CREATE in text_of(policy)}
    assert [policy["Roles"] for policy in found.values()] == [["mutable"]] * 2
    for policy in found:
        # Lambda looks at the role when the function is created.
        owners = [name for name, function in functions.items() if policy in function.get("DependsOn", [])]
        assert [name.partition("mutable")[0] for name in owners] == [policy.partition("mutable")[0]]
