"""The Redis tier: Valkey on ElastiCache, serverless or on nodes, in the VPC or with a public endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticache as elasticache
from constructs import Construct

from stripe_cache_cdk.checks import check_enum
from stripe_cache_cdk.choices import OTHER_PARTITIONS, check_nodes
from stripe_cache_cdk.config import RedisKind, UsageCaps
from stripe_cache_cdk.constructs.nag import acknowledge, acknowledge_finding
from stripe_cache_cdk.constructs.props import checked, said
from stripe_cache_cdk.constructs.redis_access import RedisAccess, Rights, name_of
from stripe_cache_cdk.constructs.stack_order import needs, refers
from stripe_cache_cdk.errors import ConstructError, naming

if TYPE_CHECKING:
    from aws_cdk import aws_iam as iam
    from aws_cdk import aws_kms as kms

    from stripe_cache_cdk.constructs.network import CacheNetwork

PORT = 6379
READER_PORT = 6380  # The serverless endpoint's reader, on the same host.
FAMILY = "8"  # Of the parameter groups that nodes use.
NODE_VERSION = "8.1"
SERVERLESS_VERSION = "9"  # The first with public endpoints.


class RedisTier(Construct):
    """Valkey over TLS, for callers with IAM permission only.

    With a `network` it lives in its isolated subnets; without one it has a public endpoint, which exists for serverless
    caches only. `usage_caps` bound a serverless cache (default: 1 GB, 5,000 ECPU/s), `node_type`, `shards` and
    `replicas` per shard size one on nodes, of which there are 90 at most. `encryption_key` replaces ElastiCache's own.
    No snapshots, and it is never retained: a cache can be filled again. One that outlived its stack would hold on to
    users, security group and subnets that the stack cannot delete then, and to a name that the next stack needs.

    Nodes with a replica are a cluster even with one shard. Without cluster mode, clients find the primary by name: when
    a replica takes over, connections to the old one stay open, and it answers reads from a copy that no invalidation
    reaches, until a write tells the client READONLY. In a cluster the old primary answers MOVED to reads as well.
    """

    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        network: CacheNetwork | None,
        kind: RedisKind = RedisKind.SERVERLESS,
        usage_caps: UsageCaps | None = None,
        node_type: str = "cache.t4g.small",
        shards: int = 1,
        replicas: int = 1,
        encryption_key: kms.IKey | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        with naming(self):
            self.kind = check_enum("kind", kind, RedisKind)
            check_nodes(node_type, shards, replicas)
            if usage_caps:
                usage_caps.check()
        if usage_caps and self.kind is RedisKind.NODES:
            raise ConstructError(self, "usage_caps: nodes have none", "size them by node_type, shards and replicas")
        self.usage_caps = usage_caps or UsageCaps()
        self.network = network
        self._key = encryption_key
        self.access = RedisAccess(self, "Access")
        self.node_type = node_type
        self.node_names: tuple[str, ...] = ()
        self._client_group: ec2.SecurityGroup | None = None
        self._cache_group = (
            network.security_group(
                self, "CacheGroup", description="The cache: admits its clients only", open_outbound=False
            )
            if network
            else None
        )
        if self.kind is RedisKind.SERVERLESS:
            self._make_serverless()
        else:
            self._make_nodes(node_type, shards, replicas)

    @property
    def client_group(self) -> ec2.SecurityGroup:
        """The security group whose members may connect. Raises ConstructError for a public endpoint, which has none."""
        if self.network is None:
            raise ConstructError(self, "a public endpoint has no security group", "grant_connect is all it takes")
        if self._client_group is None:
            self._client_group = self.network.security_group(
                self, "ClientGroup", description="Functions that use the cache", open_outbound=True
            )
            self.allow_from(self._client_group)
        return self._client_group

    @checked
    def allow_from(self, peer: ec2.IConnectable) -> None:
        """Open both ports to the peer; does nothing for a public endpoint, where IAM alone decides.

        Raises ConstructError for a function outside any VPC, which has no security group to open them to.
        """
        if self._cache_group is None:
            return
        try:
            groups = peer.connections.security_groups
        except RuntimeError as error:  # What jsii makes of CDK's refusal.
            problem, remedy = (
                f"peer={said(peer)} is in no VPC",
                "make it in network.vpc, or let StripeCache.attach do so",
            )
            raise ConstructError(self, problem, remedy) from error
        for group in groups:
            cdk.Annotations.of(group).acknowledge_warning(
                "@aws-cdk/aws-ec2:ipv4IgnoreEgressRule", "A group that may call anywhere may call the cache."
            )
        ports = {PORT: "reads and writes"}
        if self.kind is RedisKind.SERVERLESS:
            ports[READER_PORT] = "replica reads"
        if self.network and groups:
            refers(self._cache_group, vpc=self.network.vpc)
        for group in groups:
            # Either stack may hold the rules, which name both groups. The peer's, so that this one never depends on it,
            # unless this one does already: a group made beside the VPC, in the stack that the cache is built upon.
            ours = needs(self._cache_group, group)
            if not ours and isinstance(group, ec2.SecurityGroup):
                refers(group, cache=self._cache_group)
            for port, purpose in ports.items():
                if ours:
                    self._cache_group.connections.allow_from(group, ec2.Port.tcp(port), f"Valkey, {purpose}")
                else:
                    group.connections.allow_to(self._cache_group, ec2.Port.tcp(port), f"Valkey, {purpose}")

    @checked
    def grant_connect(self, grantee: iam.IGrantable, *, read_only: bool = False) -> None:
        """Allow connecting as the writer, or as the user that may only read."""
        self.grant(grantee, Rights.READ if read_only else Rights.WRITE)

    @checked
    def grant(self, grantee: iam.IGrantable, rights: Rights) -> None:
        """Allow connecting as the user with these rights, which is made when it is first asked for."""
        self.access.grant_connect(grantee, self.arn, rights)

    @checked
    def url(self, *, read_only: bool = False) -> str:
        """Return the connection's URL for a function with `grant_connect` of the same `read_only`."""
        return self.url_for(Rights.READ if read_only else Rights.WRITE)

    @checked
    def url_for(self, rights: Rights) -> str:
        """Return the connection's URL for a function with `grant` of the same rights."""
        told = {"iam_user": self.access.user_name(rights), "cache_name": self.cache_name}
        if self.kind is RedisKind.SERVERLESS:
            told["serverless"] = "1"
        scheme = "rediss+cluster" if self.is_cluster else "rediss"
        return f"{scheme}://{self.host}:{self.port}/?{urlencode(told)}"

    def _make_serverless(self) -> None:
        region = cdk.Stack.of(self).region
        if self.network is None and region.startswith(OTHER_PARTITIONS):
            raise ConstructError(
                self, f"region {region} has no public endpoints for caches", "use topology vpc-valkey or dynamodb-only"
            )
        self.is_cluster = True
        subnets = [subnet.subnet_id for subnet in self.network.cache_subnets] if self.network else None
        key = self._key.key_arn if self._key else None
        self.cache_name = name_of(self, "private" if self.network else "public", subnets, key)
        caps = self.usage_caps
        cache = elasticache.CfnServerlessCache(
            self,
            "Cache",
            engine="valkey",
            major_engine_version=SERVERLESS_VERSION,
            serverless_cache_name=self.cache_name,
            description="stripe-cache: answers of the Stripe API",
            cache_usage_limits=elasticache.CfnServerlessCache.CacheUsageLimitsProperty(
                data_storage=elasticache.CfnServerlessCache.DataStorageProperty(unit="GB", maximum=caps.storage_gb),
                ecpu_per_second=elasticache.CfnServerlessCache.ECPUPerSecondProperty(maximum=caps.ecpu_per_second),
            ),
            connection_type=None if self.network else "public",
            security_group_ids=[self._cache_group.security_group_id] if self._cache_group else None,
            subnet_ids=subnets,
            user_group_id=self.access.group.ref,
            kms_key_id=key,
        )
        cache.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
        if self.network is None:
            acknowledge_finding(
                cache,
                "CloudFormation-Validate::F3002",
                "ConnectionType is younger than the schema that CDK validates with.",
            )
        self.resource: cdk.CfnResource = cache
        self.arn = cache.attr_arn
        self.host, self.port = cache.attr_endpoint_address, cache.attr_endpoint_port

    def _make_nodes(self, node_type: str, shards: int, replicas: int) -> None:
        if self.network is None or self._cache_group is None:
            raise ConstructError(
                self, "nodes have no public endpoint", "use RedisKind.SERVERLESS or topology vpc-valkey"
            )
        self.is_cluster = shards > 1 or replicas > 0
        key = self._key.key_arn if self._key else None
        self.cache_name = name_of(self, "nodes", key, self.is_cluster)
        subnets = elasticache.CfnSubnetGroup(
            self,
            "Subnets",
            description="Isolated subnets of the cache",
            subnet_ids=[subnet.subnet_id for subnet in self.network.cache_subnets],
        )
        group = elasticache.CfnReplicationGroup(
            self,
            # Not the id of a serverless cache: CloudFormation never changes a resource into one of another type.
            "Nodes",
            replication_group_description="stripe-cache: answers of the Stripe API",
            replication_group_id=self.cache_name,
            engine="valkey",
            engine_version=NODE_VERSION,
            cache_parameter_group_name=f"default.valkey{FAMILY}" + (".cluster.on" if self.is_cluster else ""),
            cache_node_type=node_type,
            num_node_groups=shards,
            replicas_per_node_group=replicas,
            automatic_failover_enabled=replicas > 0,
            multi_az_enabled=replicas > 0,
            port=PORT,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            at_rest_encryption_enabled=True,
            kms_key_id=key,
            cache_subnet_group_name=subnets.ref,
            security_group_ids=[self._cache_group.security_group_id],
            user_group_ids=[self.access.group.ref],
            auto_minor_version_upgrade=True,
            snapshot_retention_limit=0,
        )
        group.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
        acknowledge(
            group,
            AwsSolutions_AEC5="The default port is what the security group admits; another one hides nothing.",
            AwsSolutions_AEC6="Callers authenticate by IAM, which excludes a password in AuthToken.",
            AwsSolutions_AEC4="A stage may run without replicas: losing the node costs a refill, not data.",
        )
        self.resource = group
        self.node_names = tuple(
            f"{self.cache_name}-{f'{shard:04}-' if self.is_cluster else ''}{node:03}"
            for shard in range(1, shards + 1)
            for node in range(1, replicas + 2)
        )
        self.arn = cdk.Stack.of(self).format_arn(
            service="elasticache",
            resource="replicationgroup",
            resource_name=self.cache_name,
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        if self.is_cluster:
            self.host, self.port = group.attr_configuration_end_point_address, group.attr_configuration_end_point_port
        else:
            self.host, self.port = group.attr_primary_end_point_address, group.attr_primary_end_point_port
