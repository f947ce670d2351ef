"""The DynamoDB tier: one on-demand table that deletes what has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from stripe_cache_cdk.constructs.props import checked

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

PARTITION_KEY = "pk"
EXPIRY = "exp"
READ_ACTIONS = ("dynamodb:GetItem", "dynamodb:BatchGetItem")
WRITE_ACTIONS = ("dynamodb:UpdateItem",)
# A purge reads by scanning and by key, voids by the tier's own update, and deletes what bears the id in its name.
PURGE_ACTIONS = ("dynamodb:Scan", "dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem")
# What DynamoDB asks KMS in the caller's name, spelled out: a wildcard would grant what AWS adds tomorrow.
KEY_READ_ACTIONS = ("kms:Decrypt", "kms:DescribeKey")
KEY_WRITE_ACTIONS = (
    *("kms:Encrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo"),
    *("kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"),
)


class DynamoTier(Construct):
    """A table with partition key `pk` (string) and time-to-live attribute `exp` (epoch seconds).

    On demand: nothing is paid while nothing is asked. Everything in it can be fetched from Stripe again, so
    `deletion_protection` and `point_in_time_recovery` are off, and `removal_policy` destroys, unless set.
    `encryption_key` is for those who must hold the key; the default is DynamoDB's own, which costs nothing per call.
    """

    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        encryption_key: kms.IKey | None = None,
        deletion_protection: bool = False,
        point_in_time_recovery: bool = False,
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY,
    ) -> None:
        super().__init__(scope, construct_id)
        self.table = dynamodb.TableV2(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name=PARTITION_KEY, type=dynamodb.AttributeType.STRING),
            time_to_live_attribute=EXPIRY,
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.dynamo_owned_key(),
            deletion_protection=deletion_protection,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=point_in_time_recovery
            ),
            # Counts a key only while it is throttled, so that it costs nothing until one hot record is the question.
            contributor_insights_specification=dynamodb.ContributorInsightsSpecification(
                enabled=True, mode=dynamodb.ContributorInsightsMode.THROTTLED_KEYS
            ),
            removal_policy=removal_policy,
        )
        self._key = encryption_key
        if encryption_key:
            self._encrypt_with(encryption_key)

    @checked
    def grant_cache_access(self, grantee: iam.IGrantable, *, read_only: bool = False) -> None:
        """Allow what the tier's adapter calls: reads by key, and the conditional update unless `read_only`."""
        self._grant(grantee, READ_ACTIONS if read_only else (*READ_ACTIONS, *WRITE_ACTIONS))

    @checked
    def grant_purge(self, grantee: iam.IGrantable) -> None:
        """Allow finding and erasing what is about somebody, which reads all of the table: for PurgeFunction's role."""
        self._grant(grantee, PURGE_ACTIONS)

    def _encrypt_with(self, key: kms.IKey) -> None:
        # TableV2 takes a key only in a stack whose region is known at synthesis; the template needs no such thing.
        resource = self.table.node.default_child
        if not isinstance(resource, dynamodb.CfnGlobalTable):
            raise TypeError(self.table.node.path)
        resource.add_property_override("SSESpecification", {"SSEEnabled": True, "SSEType": "KMS"})
        resource.add_property_override("Replicas.0.SSESpecification", {"KMSMasterKeyId": key.key_arn})

    def _grant(self, grantee: iam.IGrantable, actions: tuple[str, ...]) -> None:
        # An own statement on the table alone: the grants of TableV2 add its indexes, of which there are none.
        iam.Grant.add_to_principal(grantee=grantee, actions=list(actions), resource_arns=[self.table.table_arn])
        if self._key:
            writes = not set(actions) <= set(READ_ACTIONS)
            self._key.grant(grantee, *KEY_READ_ACTIONS, *(KEY_WRITE_ACTIONS if writes else ()))
