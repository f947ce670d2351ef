"""The whole cache as one construct, in one of three topologies."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from stripe_cache_cdk.checks import check_enum, check_match
from stripe_cache_cdk.config import Events, RedisKind, Topology, UsageCaps
from stripe_cache_cdk.constructs import environment as env
from stripe_cache_cdk.constructs.attaching import ATTACHED, check_attachable, place, set_variables, warn_of_fixed_role
from stripe_cache_cdk.constructs.bundled_code import package_of
from stripe_cache_cdk.constructs.dynamo_tier import DynamoTier
from stripe_cache_cdk.constructs.invalidation_queue import InvalidationQueue
from stripe_cache_cdk.constructs.key_access import SEAL_ACTIONS, grant_sealing
from stripe_cache_cdk.constructs.monitoring import Monitoring
from stripe_cache_cdk.constructs.monitoring.sharing import warn_of_shared_metrics
from stripe_cache_cdk.constructs.monitoring.watch_list import WatchList
from stripe_cache_cdk.constructs.namespace import namespace_of
from stripe_cache_cdk.constructs.network import CacheNetwork, network_for
from stripe_cache_cdk.constructs.props import checked
from stripe_cache_cdk.constructs.purge import PurgeFunction
from stripe_cache_cdk.constructs.redis_access import Rights
from stripe_cache_cdk.constructs.redis_tier import RedisTier
from stripe_cache_cdk.constructs.refresh_queue import RefreshConsumer, RefreshQueue
from stripe_cache_cdk.constructs.runtime_function import FunctionOptions
from stripe_cache_cdk.constructs.stack_order import refers
from stripe_cache_cdk.constructs.stripe_secrets import grant_secret, stripe_secret
from stripe_cache_cdk.constructs.way_out import warn_of_unread_secret
from stripe_cache_cdk.constructs.webhook_endpoint import WebhookEndpoint
from stripe_cache_cdk.errors import ConstructError, naming

if TYPE_CHECKING:
    from aws_cdk import aws_ec2 as ec2
    from aws_cdk import aws_kms as kms
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_secretsmanager as secretsmanager

    from stripe_cache_cdk.runtime_options import RuntimeOptions


class StripeCache(Construct):
    """Tiers, secrets, invalidation queue, webhook endpoint and dashboard; `attach` lets functions use them.

    `topology` is `dynamodb-only` unless said: no VPC and nothing that idles at a price. `namespace` labels the Stripe
    account (default `main`), `livemode` says which of its modes the API key is for (default test), `stage` becomes a
    metric dimension (default `dev`), by which alone the metrics and alarms of two caches in one account and region are
    told apart: another cache needs another stage. `settings` are the runtime's, for every function.

    `events` says how invalidations arrive: `webhook` makes the endpoint here (default), `external` makes the queue only
    and leaves WebhookEndpoint or EventBridgeSource to the caller, `none` makes neither, and answers then live shorter.

    In `vpc-valkey`, `network` or `vpc` takes what exists, and `redis_kind`, `usage_caps`, `node_type`, `shards`,
    `replicas` size the cache (defaults: serverless, 1 GB, 5,000 ECPU/s). `api_key_secret` and `webhook_secret` default
    to new secrets holding a random placeholder, to be overwritten.

    `encryption_key` encrypts at rest what is made here: tiers, secrets, queues; logs take the `log_key` of
    `function_options`. With `entry_key` the functions seal every entry under it before they store it, and need
    `cryptography` in their packages; `previous_entry_key` opens what was sealed before the key was changed. With
    `retain` the table, the secrets and the queues outlive the stack, and the table refuses deletion; Redis never does;
    `point_in_time_recovery` keeps what a purge removes for 35 days. `purge` makes the function that erases a customer
    (default: none). With `refresh` a stale entry is served at once, within the policy's stale window, while a function
    renews it; with `external` events that function, a RefreshConsumer, is left to the caller too. `refresh_hot` (which
    needs `refresh` and a Redis tier) has what is read often read again after an event voided it, for a read of Stripe
    each. `monitoring` is on by default. A Reconciler, made beside this, finds events that never arrived, and tells
    tiers what they missed while they were away.
    """

    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        topology: Topology = Topology.DYNAMODB_ONLY,
        namespace: str | None = None,
        livemode: bool = False,
        stage: str = "dev",
        settings: RuntimeOptions | None = None,
        events: Events = Events.WEBHOOK,
        network: CacheNetwork | None = None,
        vpc: ec2.IVpc | None = None,
        redis_kind: RedisKind = RedisKind.SERVERLESS,
        usage_caps: UsageCaps | None = None,
        node_type: str = "cache.t4g.small",
        shards: int = 1,
        replicas: int = 1,
        encryption_key: kms.IKey | None = None,
        entry_key: kms.IKey | None = None,
        previous_entry_key: kms.IKey | None = None,
        api_key_secret: secretsmanager.ISecret | None = None,
        webhook_secret: secretsmanager.ISecret | None = None,
        retain: bool = False,
        point_in_time_recovery: bool = False,
        purge: bool = False,
        refresh: bool = False,
        refresh_hot: bool = False,
        monitoring: bool = True,
        function_options: FunctionOptions | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        with naming(self):
            self.topology = check_enum("topology", topology, Topology)
            self._events = check_enum("events", events, Events)
            check_enum("redis_kind", redis_kind, RedisKind)
            namespace = namespace_of(self, namespace)
            check_match("stage", stage, r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "1 to 64 letters, digits, _ . and -")
        if usage_caps and self.topology is Topology.DYNAMODB_ONLY:
            raise ConstructError(self, f"usage_caps: topology {self.topology} has no Valkey", "leave usage_caps out")
        if previous_entry_key and not entry_key:
            raise ConstructError(self, "previous_entry_key without entry_key", "pass the new key as entry_key")
        if refresh_hot and (not refresh or self.topology is Topology.DYNAMODB_ONLY):
            remedy = "pass refresh=True and topology public-valkey or vpc-valkey, or leave refresh_hot out"
            raise ConstructError(self, "refresh_hot needs a queue of refreshes, and Redis to note what is hot", remedy)
        refers(self, network=network, vpc=vpc, encryption_key=encryption_key)
        self.refreshes_hot = refresh_hot
        warn_of_shared_metrics(self, stage)
        self.stage = stage
        self.removal_policy = cdk.RemovalPolicy.RETAIN if retain else cdk.RemovalPolicy.DESTROY
        self.encryption_key = encryption_key
        self._entry_keys = {
            name: key for name, key in (("entry_key", entry_key), ("previous_entry_key", previous_entry_key)) if key
        }
        self.watched = WatchList()
        self.network = network_for(self, self.topology, network, vpc)
        self.dynamo = DynamoTier(
            self,
            "Dynamo",
            encryption_key=encryption_key,
            deletion_protection=retain,
            point_in_time_recovery=point_in_time_recovery,
            removal_policy=self.removal_policy,
        )
        self.redis: RedisTier | None = None
        if self.topology is not Topology.DYNAMODB_ONLY:
            self.redis = RedisTier(
                self,
                "Redis",
                network=self.network,
                kind=redis_kind,
                usage_caps=usage_caps,
                node_type=node_type,
                shards=shards,
                replicas=replicas,
                encryption_key=encryption_key,
            )
        secret = functools.partial(
            stripe_secret, self, encryption_key=encryption_key, removal_policy=self.removal_policy
        )
        self.api_key_secret = api_key_secret or secret("ApiKey", description="API key for reads, as in the Dashboard")
        self.webhook_secret = webhook_secret or secret(
            "WebhookSecret", description="Signing secret of the event destination"
        )
        self._queue = (
            InvalidationQueue(self, "Invalidations", encryption_key=encryption_key, removal_policy=self.removal_policy)
            if self._events is not Events.NONE
            else None
        )
        self._settings = settings.variables() if settings else {}
        self._environment = {
            env.NAMESPACE: namespace,
            env.LIVEMODE: "true" if livemode else "false",
            env.STAGE: stage,
            env.EVENTS: "off" if self._events is Events.NONE else "on",
            env.TABLE: self.dynamo.table.table_name,
        }
        options = function_options or FunctionOptions()
        if self._entry_keys:
            self._environment[env.KMS_KEY] = ",".join(key.key_arn for key in self._entry_keys.values())
            options = dataclasses.replace(options, extras=tuple({*options.extras, "encryption"}))
        self._refreshes = RefreshQueue(self, "Refreshes", encryption_key=encryption_key) if refresh else None
        with naming(self):
            if refresh and self._events is not Events.EXTERNAL:
                RefreshConsumer(self, "Refresh", cache=self, options=options)
            self.webhook = (
                WebhookEndpoint(self, "Webhook", cache=self, options=options)
                if self._events is Events.WEBHOOK
                else None
            )
            self.purge = PurgeFunction(self, "Purge", cache=self, options=options) if purge else None
        self.monitoring = Monitoring(self, "Monitoring", cache=self) if monitoring else None

    @property
    def invalidation_queue(self) -> InvalidationQueue:
        """Where invalidations wait; raises ConstructError when the cache was made with `events="none"`."""
        if self._queue is None:
            raise ConstructError(self, 'a cache with events="none" has no queue', 'make it with events="external"')
        return self._queue

    @property
    def refresh_queue(self) -> RefreshQueue:
        """Where refreshes are asked for; raises ConstructError when the cache was made with `refresh=False`."""
        if self._refreshes is None:
            raise ConstructError(self, "a cache with refresh=False has no such queue", "make it with refresh=True")
        return self._refreshes

    @property
    def has_refreshes(self) -> bool:
        """Whether stale entries are served while they are renewed, and so whether there is a queue for that."""
        return self._refreshes is not None

    @property
    def has_events(self) -> bool:
        """Whether invalidations arrive on their own, and so whether there is a queue."""
        return self._queue is not None

    @checked
    def attach(
        self,
        function: lambda_.IFunction,
        *,
        read_only: bool = False,
        calls_stripe: bool = True,
        settings: RuntimeOptions | None = None,
        asks_refreshes: bool = True,
        replays: bool = False,
    ) -> None:
        """Let the function use the cache, wherever in the app it was made.

        Adds environment, permissions and its place in the network: a function outside any VPC moves in where the cache
        is in one, and a security group that lets nothing out is opened for what the function must reach. `read_only`
        leaves out every permission to fill or void: such a function must not write to Stripe through the cache.
        `calls_stripe=False` leaves out the API key, and `asks_refreshes=False` the queue of refreshes. `replays` adds
        the right to list the keys of Redis, for a Reconciler. `settings` replace the cache's for this function. The
        function's package must contain the runtime, as a Bundle or RuntimeFunction does. Raises ConstructError, naming
        the function, when it cannot reach the cache or Stripe, or load its Bundle, or belongs to a cache already.
        """
        attached, variables = self._prepare(function, settings, calls_stripe=calls_stripe)
        rights = Rights.READ if read_only else Rights.REPLAY if replays else Rights.WRITE
        if self.redis:
            variables[env.REDIS_URL] = self.redis.url_for(rights)
        if calls_stripe:
            variables[env.API_KEY_SECRET] = self.api_key_secret.secret_arn
        if read_only:
            variables[env.READ_ONLY] = "on"
        queues = {}
        # Whoever changes the cache queues what a tier could not be told: so does a client whose write was done.
        if self._queue and not read_only:
            queues[env.INVALIDATION_QUEUE_URL] = self._queue.queue
        # What is hot is noted by who reads, and asked for by who applies events and calls nobody.
        if self._refreshes and not read_only and asks_refreshes and (calls_stripe or self.refreshes_hot):
            queues[env.REFRESH_QUEUE_URL] = self._refreshes.queue
            variables |= {env.REFRESH_HOT: "on"} if self.refreshes_hot else {}
        set_variables(attached, variables | {name: queue.queue_url for name, queue in queues.items()})
        self.dynamo.grant_cache_access(attached, read_only=read_only)
        grant_sealing((*self._entry_keys.values(),), attached, read_only=read_only)
        if self.redis:
            self.redis.grant(attached, rights)
        if calls_stripe:
            grant_secret(self.api_key_secret, attached)
        warn_of_fixed_role(attached)
        for queue in queues.values():
            iam.Grant.add_to_principal(grantee=attached, actions=["sqs:SendMessage"], resource_arns=[queue.queue_arn])
        if self.encryption_key and queues:
            self.encryption_key.grant(attached, *SEAL_ACTIONS)
        self.watched.add(attached)

    @checked
    def attach_purge(self, function: lambda_.IFunction) -> None:
        """Let the function search the stores and erase from them: for PurgeFunction, and for nothing that serves."""
        attached, variables = self._prepare(function, None, calls_stripe=False)
        if self.redis:
            variables[env.REDIS_URL] = self.redis.url_for(Rights.PURGE)
        set_variables(attached, variables)
        self.dynamo.grant_purge(attached)
        grant_sealing((*self._entry_keys.values(),), attached, read_only=True)
        if self.redis:
            self.redis.grant(attached, Rights.PURGE)
        self.watched.add(attached)

    @checked
    def grant_webhook_secret(self, function: lambda_.Function) -> None:
        """Let the function read the webhooks' signing secret in all its versions, and tell it where that is."""
        refers(function, webhook_secret=self.webhook_secret)
        warn_of_unread_secret(function)
        set_variables(function, {env.WEBHOOK_SECRET: self.webhook_secret.secret_arn})
        grant_secret(self.webhook_secret, function)

    def _prepare(
        self, function: lambda_.IFunction, settings: RuntimeOptions | None, *, calls_stripe: bool
    ) -> tuple[lambda_.Function, dict[str, str]]:
        """Check the function, move it where the cache is, and return what every function is told."""
        attached = check_attachable(function, self)
        package = package_of(attached)
        if self._entry_keys and package and not package.seals:
            raise ConstructError(
                attached,
                f"the cache at {self.node.path} seals entries, and its package has no `cryptography`",
                'make it with extras=("encryption",) in its Bundle or FunctionOptions, or requirements that contain it',
            )
        refers(attached, cache=self, **self._entry_keys, api_key_secret=self.api_key_secret if calls_stripe else None)
        services = [*(["sqs"] if self._queue or self._refreshes else []), *(["kms"] if self._entry_keys else [])]
        place(attached, self.redis, calls_stripe=calls_stripe, services=services)
        attached.node.add_metadata(ATTACHED, self.node.path)
        return attached, self._environment | (settings.variables() if settings else self._settings)
