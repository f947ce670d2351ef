"""Functions as another team's app has them, and what a template says about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_cdk import aws_lambda as lambda_
from synthesis import resources

if TYPE_CHECKING:
    from constructs import Construct


def plain(scope: Construct, name: str = "Mine", **props: Any) -> lambda_.Function:
    """Return a function as a user's app has it."""
    props = {"runtime": lambda_.Runtime.PYTHON_3_13} | props
    props.setdefault("code", lambda_.Code.from_inline("def handler(event, context): ..."))
    return lambda_.Function(scope, name, handler="index.handler", **props)


def actions_of(template: dict[str, Any], name: str) -> set[str]:
    return {
        action
        for key, policy in resources(template, "AWS::IAM::Policy").items()
        if key.startswith(name)
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
