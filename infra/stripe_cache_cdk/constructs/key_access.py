"""KMS keys: what a key's own policy must say, and what the functions of a cache may do with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from constructs import Construct

SEAL_ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")
OPEN_ACTIONS = ("kms:Decrypt",)
LOG_ACTIONS = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")


def new_key(scope: Construct, construct_id: str, *, description: str, removal_policy: cdk.RemovalPolicy) -> kms.Key:
    """Make a key that KMS renews every year; what a deleted one encrypted is lost 30 days later."""
    return kms.Key(
        scope, construct_id, description=description, enable_key_rotation=True, removal_policy=removal_policy
    )


def grant_sealing(keys: Sequence[kms.IKey], grantee: iam.IGrantable, *, read_only: bool) -> None:
    """Allow sealing entries under the first key and opening those of all; only opening them with `read_only`.

    Not confined to a namespace: the entries of connected accounts are in namespaces of their own.
    """
    for key in keys:
        seals = key is keys[0] and not read_only
        key.grant(grantee, *(SEAL_ACTIONS if seals else OPEN_ACTIONS))


def encrypt_queue(queue: sqs.Queue, key: kms.IKey) -> None:
    """Let the key encrypt the queue in place of SQS's own."""
    resource = queue.node.default_child
    if not isinstance(resource, sqs.CfnQueue):
        raise TypeError(queue.node.path)
    resource.sqs_managed_sse_enabled = None
    resource.kms_master_key_id = key.key_arn
    # Between two requests to KMS; the longer, the fewer are paid for.
    resource.kms_data_key_reuse_period_seconds = 3_600


def let_events_use(key: kms.IKey) -> None:
    """Add to the key's policy what EventBridge needs to send to an encrypted queue; without it the rule fails silently.

    The key may be imported, see `let_service_use`.
    """
    let_service_use(key, "events.amazonaws.com", SEAL_ACTIONS, "what it sends to the queue is lost")


def encrypted_logs(
    scope: Construct, construct_id: str, *, retention: logs.RetentionDays, encryption_key: kms.IKey | None
) -> logs.LogGroup:
    """Return a group of logs that goes with its stack, under the key if there is one, else under CloudWatch's own."""
    group = logs.LogGroup(
        scope,
        construct_id,
        retention=retention,
        encryption_key=encryption_key,
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
    if encryption_key:
        let_logs_use(encryption_key, group)
    return group


def let_logs_use(key: kms.IKey, group: logs.LogGroup) -> None:
    """Add to the key's policy what CloudWatch Logs needs; the key may be imported, see `let_service_use`."""
    stack = cdk.Stack.of(group)
    # Not the group's own ARN: the group names the key, and the key may not name the group.
    groups = stack.format_arn(
        service="logs", resource="log-group", resource_name="*", arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
    )
    let_service_use(
        key,
        f"logs.{stack.region}.amazonaws.com",
        LOG_ACTIONS,
        "the log group is not created",
        {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
    )


def let_service_use(
    key: kms.IKey,
    service: str,
    actions: Sequence[str],
    otherwise: str,
    conditions: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Add to the key's policy that a service of AWS may use it; `otherwise` is what happens without.

    The policy of an imported key is its owner's to extend: that one is annotated with what must be added.
    """
    statement = iam.PolicyStatement(
        principals=[iam.ServicePrincipal(service)], actions=list(actions), resources=["*"], conditions=conditions
    )
    if key.add_to_resource_policy(statement).statement_added:
        return
    told = service.replace(cdk.Aws.REGION, "REGION")
    cdk.Annotations.of(key).add_warning_v2(
        f"stripe-cache:keyPolicy:{told.partition('.')[0]}",
        f"the key was imported, so its policy stays as it is: its owner must let {told} {', '.join(actions)}, or "
        f"{otherwise}",
    )
