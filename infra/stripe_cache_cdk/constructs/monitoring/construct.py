"""The dashboard and the alarms of one cache, and the topic that alarms go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from stripe_cache_cdk.constructs.monitoring import metrics as names
from stripe_cache_cdk.constructs.monitoring import widgets
from stripe_cache_cdk.constructs.monitoring.alarms import Alarms
from stripe_cache_cdk.constructs.monitoring.metrics import CacheMetrics
from stripe_cache_cdk.constructs.monitoring.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_sqs as sqs

    from stripe_cache_cdk.constructs.stripe_cache import StripeCache
    from stripe_cache_cdk.constructs.webhook_endpoint import WebhookEndpoint

DEFAULT_TYPES = ("customer", "invoice", "price", "product", "subscription")


class Monitoring(Construct):
    """One dashboard and an alarm for each thing that breaks a promise of the cache, all to one encrypted SNS topic.

    `endpoints` are watched with their functions; `functions` and `dead_letters` add more, each under the name it shall
    have on the dashboard. `object_types` get a line each in the hit ratio, and cost two custom metrics each, about 0.60
    USD a month. `alarm_email` subscribes an address, which must confirm. An alarm costs 0.10 USD a month, a dashboard 3
    USD after the third of an account, the topic's key 1 USD.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cache: StripeCache,
        endpoints: Sequence[WebhookEndpoint] = (),
        functions: Mapping[str, lambda_.Function] | None = None,
        dead_letters: Mapping[str, sqs.IQueue] | None = None,
        thresholds: Thresholds | None = None,
        object_types: Sequence[str] = DEFAULT_TYPES,
        alarm_email: str = "",
    ) -> None:
        super().__init__(scope, construct_id)
        cache_metrics = CacheMetrics(stage=cache.stage)
        watched = _functions(endpoints) | dict(functions or {})
        self.topic = self._topic(alarm_email)
        alarms = Alarms(self, self.topic, thresholds or Thresholds())
        alarms.watch_cache(cache_metrics, events=cache.has_events)
        alarms.watch_table(cache.dynamo.table)
        if cache.redis:
            alarms.watch_redis(cache.redis)
        for name, function in watched.items():
            alarms.watch_function(name, function)
        queues: dict[str, sqs.IQueue] = {}
        given_up = dict(dead_letters or {})
        if cache.has_events:
            queues["Invalidations"] = cache.invalidation_queue.queue
            given_up["InvalidationDeadLetters"] = cache.invalidation_queue.dead_letters
        for name, queue in queues.items():
            alarms.watch_queue(name, queue)
        for name, queue in given_up.items():
            alarms.watch_dead_letters(name, queue)
        self.alarms = tuple(alarms.made)
        tiers = [tier for tier in names.TIERS if tier != "redis" or cache.redis]
        rows = widgets.cache_rows(cache_metrics, object_types, tiers)
        if cache.redis:
            rows.append(widgets.redis_row(cache.redis))
        rows.append(widgets.table_row(cache.dynamo.table))
        if watched:
            rows.append(widgets.function_row(watched))
        if queues or given_up:
            rows.append(widgets.queue_row(queues, given_up))
        self.dashboard = cloudwatch.Dashboard(
            self, "Dashboard", widgets=rows, period_override=cloudwatch.PeriodOverride.AUTO
        )

    def _topic(self, email: str) -> sns.Topic:
        key = kms.Key(self, "TopicKey", description="stripe-cache: alarms", enable_key_rotation=True)
        # Without this, CloudWatch cannot encrypt what it publishes, and alarms are lost without a word.
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
            )
        )
        topic = sns.Topic(self, "Alarms", master_key=key, enforce_ssl=True)
        topic.grant_publish(iam.ServicePrincipal("cloudwatch.amazonaws.com"))
        if email:
            topic.add_subscription(subscriptions.EmailSubscription(email))
        return topic


def _functions(endpoints: Sequence[WebhookEndpoint]) -> dict[str, lambda_.Function]:
    found: dict[str, lambda_.Function] = {}
    for number, endpoint in enumerate(endpoints, start=1):
        suffix = "" if number == 1 else str(number)
        found[f"Webhook{suffix}"] = endpoint.function
        found[f"Consumer{suffix}"] = endpoint.consumer.function
    return found
