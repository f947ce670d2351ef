"""The two secrets that Stripe issues, as Secrets Manager keeps them, and who may read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager

from stripe_cache_cdk.constructs.nag import acknowledge

if TYPE_CHECKING:
    import aws_cdk as cdk
    from aws_cdk import aws_kms as kms
    from constructs import Construct


def stripe_secret(
    scope: Construct,
    construct_id: str,
    *,
    description: str,
    encryption_key: kms.IKey | None,
    removal_policy: cdk.RemovalPolicy,
) -> secretsmanager.Secret:
    """Make a secret that holds a random placeholder, to be overwritten with what Stripe says."""
    secret = secretsmanager.Secret(
        scope,
        construct_id,
        description=f"Stripe: {description}. Overwrite the placeholder.",
        encryption_key=encryption_key,
        removal_policy=removal_policy,
    )
    acknowledge(secret, AwsSolutions_SMG4="Stripe issues this value: it is rolled in Stripe's Dashboard or API.")
    return secret


def grant_secret(secret: secretsmanager.ISecret, grantee: iam.IGrantable) -> None:
    """Allow reading the secret in all its versions, and nothing else about it."""
    # grant_read would add DescribeSecret, which nothing here calls.
    iam.Grant.add_to_principal(
        grantee=grantee,
        actions=["secretsmanager:GetSecretValue"],
        resource_arns=[secret.secret_full_arn or f"{secret.secret_arn}-??????"],
    )
    if secret.encryption_key:
        secret.encryption_key.grant_decrypt(grantee)
