"""The topic that alarms go to: encrypted with a key that CloudWatch may use, for this account's alarms only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions

from stripe_cache_cdk.constructs.key_access import new_key

if TYPE_CHECKING:
    from constructs import Construct

CLOUDWATCH = "cloudwatch.amazonaws.com"


def alarm_topic(scope: Construct, email: str, removal_policy: cdk.RemovalPolicy) -> sns.Topic:
    """Return the topic, with the address subscribed if there is one; the policy is what becomes of its key."""
    # CloudWatch acts for every account: without the condition, somebody else's alarm could publish here.
    ours = {"StringEquals": {"aws:SourceAccount": cdk.Stack.of(scope).account}}
    key = new_key(scope, "TopicKey", description="stripe-cache: alarms", removal_policy=removal_policy)
    # Without this, CloudWatch cannot encrypt what it publishes, and alarms are lost without a word.
    key.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal(CLOUDWATCH)],
            actions=["kms:Decrypt", "kms:GenerateDataKey*"],
            resources=["*"],
            conditions=ours,
        )
    )
    topic = sns.Topic(scope, "Alarms", master_key=key, enforce_ssl=True)
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal(CLOUDWATCH)],
            actions=["sns:Publish"],
            resources=[topic.topic_arn],
            conditions=ours,
        )
    )
    if email:
        topic.add_subscription(subscriptions.EmailSubscription(email))
    return topic
