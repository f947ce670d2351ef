"""The whole cache as one construct, in one of three topologies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from stripe_cache_cdk.checks import check_enum
from stripe_cache_cdk.config import Events, RedisKind, Topology, UsageCaps
from stripe_cache_cdk.constructs import environment as env
from stripe_cache_cdk.constructs.attaching import check_attachable, place
from stripe_cache_cdk.constructs.dynamo_tier import DynamoTier
from stripe_cache_cdk.constructs.invalidation_queue import InvalidationQueue
from stripe_cache_cdk.constructs.monitoring import Monitoring
from stripe_cache_cdk.constructs.nag import acknowledge
from stripe_cache_cdk.constructs.network import CacheNetwork
from stripe_cache_cdk.constructs.redis_tier import RedisTier
from stripe_cache_cdk.constructs.webhook_endpoint import WebhookEndpoint
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from aws_cdk import aws_ec2 as ec2
    from aws_cdk import aws_kms as kms
    from aws_cdk import aws_lambda as lambda_

    from stripe_cache_cdk.constructs.runtime_function import FunctionOptions


class StripeCache(Construct):
    """Tiers, secrets, invalidation queue, webhook endpoint and dashboard; `attach` lets functions use them.

    `topology` is `dynamodb-only` unless said: no VPC and nothing that idles at a price. `namespace` labels the Stripe
    account (default `main`), `livemode` says which of its modes the API key is for (default test), `stage` becomes a
    metric dimension (default `dev`).

    `events` says how invalidations arrive: `webhook` makes the endpoint here (default), `external` makes the queue only
    and leaves WebhookEndpoint or EventBridgeSource to the caller, `none` makes neither, and answers then live shorter.

    In `vpc-valkey`, `network` or `vpc` takes what exists, and `redis_kind`, `usage_caps`, `node_type`, `replicas` size
    the cache (defaults: serverless, 1 GB, 5,000 ECPU/s). `encryption_key` encrypts every tier. `api_key_secret` and
    `webhook_secret` default to new secrets holding a random placeholder, to be overwritten. With `retain` the table,
    the cache and the secrets outlive the stack, and the table refuses deletion. `monitoring` is on by default.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        topology: Topology = Topology.DYNAMODB_ONLY,
        namespace: str = "main",
        livemode: bool = False,
        stage: str = "dev",
        events: Events = Events.WEBHOOK,
        network: CacheNetwork | None = None,
        vpc: ec2.IVpc | None = None,
        redis_kind: RedisKind = RedisKind.SERVERLESS,
        usage_caps: UsageCaps | None = None,
        node_type: str = "cache.t4g.small",
        replicas: int = 1,
        encryption_key: kms.IKey | None = None,
        api_key_secret: secretsmanager.ISecret | None = None,
        webhook_secret: secretsmanager.ISecret | None = None,
        retain: bool = False,
        monitoring: bool = True,
        function_options: FunctionOptions | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.topology = check_enum("topology", topology, Topology)
        self.stage = stage
        self._events = check_enum("events", events, Events)
        self._removal = cdk.RemovalPolicy.RETAIN if retain else cdk.RemovalPolicy.DESTROY
        self._attached: set[str] = set()
        self.network = self._network(network, vpc)
        self.dynamo = DynamoTier(
            self, "Dynamo", encryption_key=encryption_key, deletion_protection=retain, removal_policy=self._removal
        )
        self.redis: RedisTier | None = None
        if self.topology is not Topology.DYNAMODB_ONLY:
            self.redis = RedisTier(
                self,
                "Redis",
                network=self.network,
                kind=check_enum("redis_kind", redis_kind, RedisKind),
                usage_caps=usage_caps,
                node_type=node_type,
                replicas=replicas,
                encryption_key=encryption_key,
                removal_policy=self._removal,
            )
        self.api_key_secret = api_key_secret or self._secret("ApiKey", "API key for reads, as in the Dashboard")
        self.webhook_secret = webhook_secret or self._secret("WebhookSecret", "Signing secret of the event destination")
        self._queue = None if self._events is Events.NONE else InvalidationQueue(self, "Invalidations")
        self._environment = {
            env.NAMESPACE: namespace,
            env.LIVEMODE: "true" if livemode else "false",
            env.STAGE: stage,
            env.EVENTS: "off" if self._events is Events.NONE else "on",
            env.TABLE: self.dynamo.table.table_name,
        }
        self.webhook: WebhookEndpoint | None = None
        if self._events is Events.WEBHOOK:
            self.webhook = WebhookEndpoint(self, "Webhook", cache=self, options=function_options)
        self.monitoring: Monitoring | None = None
        if monitoring:
            self.monitoring = Monitoring(
                self, "Monitoring", cache=self, endpoints=[self.webhook] if self.webhook else []
            )

    @property
    def invalidation_queue(self) -> InvalidationQueue:
        """Where invalidations wait; raises ConstructError when the cache was made with `events="none"`."""
        if self._queue is None:
            raise ConstructError(self, 'a cache with events="none" has no queue', 'make it with events="external"')
        return self._queue

    @property
    def has_events(self) -> bool:
        """Whether invalidations arrive on their own, and so whether there is a queue."""
        return self._queue is not None

    def attach(self, function: lambda_.IFunction, *, read_only: bool = False, calls_stripe: bool = True) -> None:
        """Let the function use the cache, wherever in the app it was made.

        Adds environment, permissions and, in vpc-valkey, its place in the network. `read_only` leaves out every
        permission to fill or void: such a function must not write to Stripe through the cache. `calls_stripe=False`
        leaves out the API key. The function's package must contain the runtime, as that of RuntimeFunction does. Raises
        ConstructError, naming the function, when it cannot reach the cache.
        """
        attached = check_attachable(function)
        if attached.node.path in self._attached:
            raise ConstructError(attached, "it is attached to this cache already", "attach each function once")
        self._attached.add(attached.node.path)
        self.dynamo.grant_cache_access(attached, read_only=read_only)
        variables = dict(self._environment)
        if self.redis:
            place(attached, self.redis, calls_stripe=calls_stripe)
            self.redis.grant_connect(attached, read_only=read_only)
            variables[env.REDIS_URL] = self.redis.url(read_only=read_only)
        if calls_stripe:
            _grant_secret(self.api_key_secret, attached)
            variables[env.API_KEY_SECRET] = self.api_key_secret.secret_arn
        if read_only:
            variables[env.READ_ONLY] = "on"
        if self._queue and not read_only:
            queue = self._queue.queue
            iam.Grant.add_to_principal(grantee=attached, actions=["sqs:SendMessage"], resource_arns=[queue.queue_arn])
            variables[env.INVALIDATION_QUEUE_URL] = queue.queue_url
        for name, value in variables.items():
            attached.add_environment(name, value)

    def grant_webhook_secret(self, function: lambda_.Function) -> None:
        """Let the function read the webhooks' signing secret in all its versions, and tell it where that is."""
        _grant_secret(self.webhook_secret, function)
        function.add_environment(env.WEBHOOK_SECRET, self.webhook_secret.secret_arn)

    def _network(self, network: CacheNetwork | None, vpc: ec2.IVpc | None) -> CacheNetwork | None:
        if self.topology is not Topology.VPC_VALKEY:
            if network or vpc:
                raise ConstructError(self, f"topology {self.topology} uses no VPC", "use vpc-valkey, or pass none")
            return None
        if network and vpc:
            raise ConstructError(self, "both network and vpc were given", "pass one of them")
        network = network or CacheNetwork(self, "Network", vpc=vpc)
        if not network.can_reach_stripe:
            raise ConstructError(
                self,
                f"functions in {network.node.path} cannot reach Stripe, which has IPv4 addresses only",
                "make the network with nat=gateway or nat=instance",
            )
        return network

    def _secret(self, construct_id: str, description: str) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            construct_id,
            description=f"Stripe: {description}. Overwrite the placeholder.",
            removal_policy=self._removal,
        )
        acknowledge(secret, AwsSolutions_SMG4="Stripe issues this value: it is rolled in Stripe's Dashboard or API.")
        return secret


def _grant_secret(secret: secretsmanager.ISecret, function: lambda_.Function) -> None:
    # grant_read would add DescribeSecret, which nothing here calls.
    iam.Grant.add_to_principal(
        grantee=function,
        actions=["secretsmanager:GetSecretValue"],
        resource_arns=[secret.secret_full_arn or f"{secret.secret_arn}-??????"],
    )
    if secret.encryption_key:
        secret.encryption_key.grant_decrypt(function)
