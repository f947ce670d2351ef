"""Say beside a resource why a rule of cdk-nag does not apply to it.

The reasons travel with the constructs: whoever checks an app of their own with cdk-nag sees them, and without cdk-nag
they do nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk

if TYPE_CHECKING:
    from constructs import IConstruct


def acknowledge(construct: IConstruct, **reasons: str) -> None:
    """Record reasons for the construct and all below it; rules are written with `_` for `-` (AwsSolutions_L1)."""
    for rule, reason in reasons.items():
        acknowledge_finding(construct, rule.replace("_", "-"), reason)


def acknowledge_finding(construct: IConstruct, finding: str, reason: str) -> None:
    """As `acknowledge`, for one finding inside a rule, such as `AwsSolutions-IAM5[Resource::*]`."""
    cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=finding, reason=reason))
