"""Subnets that lead nowhere: what a function in them cannot reach is told at synthesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_cdk import assertions
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from functions import plain

from stripe_cache_cdk import RuntimeFunction, StripeCache, Topology

if TYPE_CHECKING:
    import aws_cdk as cdk

ISOLATED = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)


def told_of(stack: cdk.Stack, function: str) -> list[str]:
    found = assertions.Annotations.from_stack(stack).find_warning(f"/Test/{function}", assertions.Match.any_value())
    return [str(one.entry.data) for one in found]


def vpc_of(stack: cdk.Stack, name: str, kind: ec2.SubnetType) -> ec2.Vpc:
    vpc = ec2.Vpc(
        stack,
        name,
        nat_gateways=0,
        restrict_default_security_group=False,
        subnet_configuration=[ec2.SubnetConfiguration(name="Only", subnet_type=kind)],
    )
    vpc.add_gateway_endpoint("Table", service=ec2.GatewayVpcEndpointAwsService.DYNAMODB)
    return vpc


def cache_in(stack: cdk.Stack, name: str, **props: Any) -> StripeCache:
    return StripeCache(stack, name, **({"stage": name, "monitoring": False, "events": "external"} | props))


def test_what_has_no_endpoint_is_named_with_what_is_lost(stack: cdk.Stack) -> None:
    vpc = vpc_of(stack, "Vpc", ec2.SubnetType.PRIVATE_ISOLATED)
    plainly = cache_in(stack, "Plainly", events="none")
    sealing = cache_in(stack, "Sealing", entry_key=kms.Key(stack, "Key"))
    isolated = {"vpc": vpc, "vpc_subnets": ISOLATED}
    plainly.attach(plain(stack, "NeedsNone", **isolated), calls_stripe=False)
    sealing.attach(plain(stack, "Needs", **isolated), calls_stripe=False)
    webhook = plain(stack, "Webhook", **isolated)
    sealing.attach(webhook, calls_stripe=False)
    sealing.grant_webhook_secret(webhook)
    assert told_of(stack, "NeedsNone") == []
    assert [told.partition("endpoint for ")[2][:3] for told in told_of(stack, "Needs")] == ["SQS", "KMS"]
    told = told_of(stack, "Webhook")
    assert len(told) == 3
    assert "without an endpoint for SECRETSMANAGER: it cannot read its secret" in told[2]


def test_an_endpoint_in_the_vpc_is_enough(stack: cdk.Stack) -> None:
    vpc = vpc_of(stack, "Vpc", ec2.SubnetType.PRIVATE_ISOLATED)
    services = ec2.InterfaceVpcEndpointAwsService
    for name, service in (("Sqs", services.SQS), ("Kms", services.KMS), ("Secrets", services.SECRETS_MANAGER)):
        vpc.add_interface_endpoint(name, service=service)
    cache = cache_in(stack, "Cache", entry_key=kms.Key(stack, "Key"))
    mine = plain(stack, vpc=vpc, vpc_subnets=ISOLATED)
    cache.attach(mine, calls_stripe=False)
    cache.grant_webhook_secret(mine)
    assert told_of(stack, "Mine") == []


def test_private_subnets_without_a_default_route_are_warned_of(stack: cdk.Stack) -> None:
    leads_nowhere = vpc_of(stack, "Nowhere", ec2.SubnetType.PRIVATE_WITH_EGRESS)
    inside = {"topology": Topology.VPC_VALKEY, "vpc": leads_nowhere}
    cache = cache_in(stack, "Inside", **inside)
    cache.attach(plain(stack, "MovedIn"))
    cache.attach(plain(stack, "Beside", vpc=leads_nowhere))
    cache.attach(RuntimeFunction(stack, "Voids", handler="h.h"), calls_stripe=False)
    cache_in(stack, "Outside").attach(plain(stack, "Else", vpc=leads_nowhere))
    for name in ("MovedIn", "Beside", "Else"):
        (told,) = told_of(stack, name)
        assert told.startswith("none of its subnets in Test/Nowhere has a route to 0.0.0.0/0 in this app, and it must")
        assert "reach Stripe: give the VPC a NAT" in told
    assert told_of(stack, "Voids") == [], "the table's endpoint is all it needs"


def test_a_route_that_comes_after_the_function_counts_whoever_adds_it(stack: cdk.Stack) -> None:
    by_subnet = vpc_of(stack, "BySubnet", ec2.SubnetType.PRIVATE_WITH_EGRESS)
    by_route = vpc_of(stack, "ByRoute", ec2.SubnetType.PRIVATE_WITH_EGRESS)
    cache_in(stack, "One").attach(plain(stack, "First", vpc=by_subnet))
    cache_in(stack, "Two", topology=Topology.VPC_VALKEY, vpc=by_route).attach(plain(stack, "Second"))
    gateway = ec2.CfnTransitGateway(stack, "Gateway")
    for subnet in by_subnet.private_subnets:
        assert isinstance(subnet, ec2.Subnet)
        subnet.add_route("Out", router_type=ec2.RouterType.TRANSIT_GATEWAY, router_id=gateway.ref)
    for number, subnet in enumerate(by_route.private_subnets):
        ec2.CfnRoute(
            stack,
            f"Out{number}",
            route_table_id=subnet.route_table.route_table_id,
            destination_cidr_block="0.0.0.0/0",
            transit_gateway_id=gateway.ref,
        )
    assert told_of(stack, "First") == told_of(stack, "Second") == []
