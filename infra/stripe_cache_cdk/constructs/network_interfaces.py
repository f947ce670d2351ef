"""The right of a function's role to make the network interfaces that put the function into a VPC.

Lambda refuses to create a function in a VPC whose role lacks it. CDK grants it to the roles that it makes itself, and
to no role that was passed to a function.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from stripe_cache_cdk.constructs.nag import acknowledge_finding
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from aws_cdk import aws_lambda as lambda_
    from constructs import IConstruct

VPC_POLICY = "service-role/AWSLambdaVPCAccessExecutionRole"
# Either lets Lambda make interfaces; the second is the same without the right to write logs.
ENOUGH = (VPC_POLICY, "service-role/AWSLambdaENIManagementAccess")
INLINE = "NetworkInterfaces"
"""The construct below a function that holds the statement for a role which takes no managed policies."""
# What Lambda's manual asks of an execution role in a VPC.
ACTIONS = (
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
)
REASON = "Network interfaces cannot be named before they exist; this is AWS's own list of what Lambda needs for them."


def allow_interfaces(function: lambda_.Function) -> None:
    """Let the function's role make network interfaces, unless it may already; raises ConstructError without a role.

    A role of this app gets AWS's managed policy. An imported one takes no managed policies, so that one gets a policy
    of its own; where it was imported as immutable, this does nothing.
    """
    role = function.role
    if role is None:
        raise ConstructError(function, "it has no role to allow network interfaces", "give it a role of this app")
    if isinstance(role, iam.Role):
        if not _may_already(role):
            role.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name(VPC_POLICY))
            _explain(role, f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{VPC_POLICY}]")
    elif function.node.try_find_child(INLINE) is None:
        # Below the function and not below the role: the reason why it names every resource is this statement's alone.
        policy = iam.Policy(function, INLINE, statements=[iam.PolicyStatement(actions=list(ACTIONS), resources=["*"])])
        role.attach_inline_policy(policy)
        _explain(policy, "AwsSolutions-IAM5[Resource::*]")
        # Lambda checks the role when it creates the function.
        resource = function.node.default_child
        if resource is not None:
            resource.node.add_dependency(policy)


def _may_already(role: iam.Role) -> bool:
    resource = role.node.default_child
    if not isinstance(resource, iam.CfnRole):  # The role that CDK was told to take in its place is granted elsewhere.
        return False
    arns = json.dumps(cdk.Stack.of(role).resolve(resource.managed_policy_arns))
    return any(policy in arns for policy in ENOUGH)


def _explain(construct: IConstruct, finding: str) -> None:
    acknowledge_finding(construct, finding, REASON)
