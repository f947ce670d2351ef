"""What differs between stages, as one frozen value each.

Everything an operator may turn is a field here, checked when the value is made, so that a bad one stops synthesis and
not a deployment. The prices are us-east-1 list prices of 2026-11: check them before quoting.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stripe_cache_cdk.checks import check_cidr, check_match, check_range
from stripe_cache_cdk.choices import (
    DEFAULT_PYTHON,
    EMAIL,
    LOG_RETENTION_DAYS,
    NO_PARTNER,
    OTHER_PARTITIONS,
    PYTHONS,
    Architecture,
    Events,
    Nat,
    RedisKind,
    Topology,
    UsageCaps,
    check_namespace,
    check_nodes,
    check_object_type,
    check_services,
    convert_fields,
)
from stripe_cache_cdk.errors import StageError
from stripe_cache_cdk.overrides import check_names, own_context
from stripe_cache_cdk.runtime_options import RuntimeOptions
from stripe_cache_cdk.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_PYTHON",
    "LOG_RETENTION_DAYS",
    "PYTHONS",
    "STAGES",
    "Architecture",
    "Events",
    "Nat",
    "RedisKind",
    "StageConfig",
    "Topology",
    "UsageCaps",
    "config_from_context",
    "stage_config",
]


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage: where it runs, what it is made of, how carefully it is kept.

    `account` and `region` may stay empty: the stacks then go wherever the credentials of `cdk deploy` point, and
    synthesis asks AWS nothing either way. `qualifier` is that of the bootstrap to deploy by; empty means CDK's own.
    `namespace` labels the Stripe account; empty means `main`. `nat_gateways` of 0 means one per availability zone.
    `nat_image` is the AMI of NAT instances; empty takes Amazon's newest at each deployment, which replaces the instance
    when there is a newer one. `customer_key` encrypts table, cache, secrets, queues of invalidations and refreshes, and
    logs with a KMS key of the account (1 USD a month, and its requests); `encrypt_entries` lets the functions
    themselves seal what they store under another (1 USD as well). `purge` deploys the function that erases a customer.
    `refresh_hot` has what is read often read again after an event voided it, and needs Valkey.

    `runtime` is what all functions do differently from the runtime's defaults, `thresholds` when alarms ring.
    `webhook_concurrency` sets sandboxes of Lambda aside for the webhook, and lets it have no more; 0 sets none aside.
    Lambda refuses what leaves others fewer than 100, and new accounts have 10 in all: raise the quota first.

    `reconcile_minutes` is how long a lost event goes unnoticed, and how long Valkey may serve old answers once it is
    back after an outage. A sweep is one read of Stripe at least: every 5 minutes some 9,400 in a month, every 15 some
    3,600. Stripe grants a live account 500 per payment and 10,000 at least: below some 40 payments, make it 15.
    """

    stage: str
    topology: Topology
    account: str = ""
    region: str = ""
    qualifier: str = ""
    namespace: str = ""
    livemode: bool = False

    cidr: str = "10.20.0.0/20"
    azs: int = 2
    nat: Nat = Nat.GATEWAY
    nat_gateways: int = 0
    nat_image: str = ""
    interface_endpoints: tuple[str, ...] = ()
    flow_logs: bool = True

    redis_kind: RedisKind = RedisKind.SERVERLESS
    usage_caps: UsageCaps = field(default_factory=UsageCaps)
    node_type: str = "cache.t4g.small"
    shards: int = 1
    replicas: int = 1

    customer_key: bool = False
    encrypt_entries: bool = False
    point_in_time_recovery: bool = False
    purge: bool = False

    python: str = DEFAULT_PYTHON
    architecture: Architecture = Architecture.ARM64
    snap_start: bool = False
    webhook_concurrency: int = 0
    webhook_rate: int = 50
    webhook_burst: int = 100
    stripe_event_bus: str = ""
    refresh_hot: bool = False
    reconcile_minutes: int = 15
    log_retention_days: int = 30

    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    thresholds: Thresholds = field(default_factory=Thresholds)

    retain: bool = False
    termination_protection: bool = False
    alarm_email: str = ""
    object_types: tuple[str, ...] = ("customer", "invoice", "price", "product", "subscription")

    def __post_init__(self) -> None:
        convert_fields(self)
        check_match("stage", self.stage, r"[a-z][a-z0-9]{1,11}", "2 to 12 lower-case letters and digits")
        check_match("account", self.account, r"(\d{12})?", "the 12 digits of an AWS account (in quotes), or nothing")
        check_match("region", self.region, r"([a-z]{2,4}(-[a-z]+)+-\d)?", "a region such as us-east-1, or nothing")
        check_match(
            "qualifier", self.qualifier, r"[a-z0-9]{0,10}", "at most 10 lower-case letters and digits, or nothing"
        )
        if self.namespace:
            check_namespace(self.namespace)
        self._check_network()
        self.usage_caps.check()
        self.thresholds.check()
        check_nodes(self.node_type, self.shards, self.replicas)
        self._check_functions()
        if self.log_retention_days not in LOG_RETENTION_DAYS:
            allowed = ", ".join(map(str, LOG_RETENTION_DAYS))
            raise StageError(f"log_retention_days={self.log_retention_days}: CloudWatch Logs keeps {allowed} days")
        check_match("alarm_email", self.alarm_email, EMAIL, "one e-mail address, or nothing")
        check_match("stripe_event_bus", self.stripe_event_bus, r"(aws\.partner/stripe\.com/\S+)?", STRIPE_BUS_HINT)
        if self.stripe_event_bus and self.region.startswith(OTHER_PARTITIONS):
            raise StageError(
                f"stripe_event_bus={self.stripe_event_bus!r}: region {self.region} {NO_PARTNER}: leave it out"
            )
        for name in self.object_types:
            check_object_type(name)

    def _check_network(self) -> None:
        check_cidr(self.cidr)
        check_range("azs", self.azs, 2, 3, "availability zones")
        check_range("nat_gateways", self.nat_gateways, 0, self.azs, "(0 means one per availability zone)")
        check_match("nat_image", self.nat_image, r"(ami-[0-9a-f]{8,17})?", "an AMI's id such as ami-0123456789abcdef0")
        check_services(self.interface_endpoints)
        if self.nat_image and self.nat is not Nat.INSTANCE:
            raise StageError(f"nat_image={self.nat_image!r}: nat={self.nat} starts no instance: set nat=instance")
        if self.nat_image and not self.region:
            raise StageError(f"nat_image={self.nat_image!r}: an image belongs to one region: set region as well")
        if self.topology is Topology.PUBLIC_VALKEY and self.redis_kind is RedisKind.NODES:
            raise StageError("redis_kind=nodes: nodes have no public endpoint: use serverless or topology vpc-valkey")
        if self.topology is Topology.VPC_VALKEY and self.nat is Nat.NONE:
            raise StageError(
                "nat=none: in topology vpc-valkey functions could not reach Stripe: use gateway or instance"
            )

    def _check_functions(self) -> None:
        if self.python not in PYTHONS:
            raise StageError(f"python={self.python!r}: choose one of {', '.join(PYTHONS)}")
        if self.snap_start and self.python == PYTHONS[0]:
            raise StageError("snap_start=True: SnapStart needs python 3.12 or newer: raise python or turn it off")
        check_range("webhook_concurrency", self.webhook_concurrency, 0, 1_000, "(0 reserves none)")
        check_range("webhook_rate", self.webhook_rate, 1, 10_000, "requests per second")
        check_range("webhook_burst", self.webhook_burst, self.webhook_rate, 20_000, "requests (webhook_rate or more)")
        if self.refresh_hot and self.topology is Topology.DYNAMODB_ONLY:
            raise StageError("refresh_hot=True: what is hot is noted in Valkey: set a topology that has it")
        check_range("reconcile_minutes", self.reconcile_minutes, 1, 1_440, "minutes between two sweeps")


STRIPE_BUS_HINT = "the name of the partner bus, aws.partner/stripe.com/..., or nothing"

STAGES: dict[str, StageConfig] = {
    config.stage: config
    for config in (
        # Fixed cost about 8 USD a month: 2 secrets (0.80), 1 KMS key (1), alarms on some 60 metrics (6). No VPC, and
        # nothing idles. Use adds 0.30 per custom metric and month, requests and logs, and 3 for an account's 4th
        # dashboard.
        StageConfig(
            stage="dev",
            topology=Topology.DYNAMODB_ONLY,
            nat=Nat.INSTANCE,
            nat_gateways=1,
            log_retention_days=7,
        ),
        # Fixed cost about 15 USD a month: as dev, and Valkey: 6.13 for the 100 MB that serverless bills at least,
        # and 0.80 for its alarms.
        StageConfig(
            stage="staging",
            topology=Topology.PUBLIC_VALKEY,
            nat=Nat.INSTANCE,
            nat_gateways=1,
            log_retention_days=30,
            termination_protection=True,
        ),
        # Fixed cost about 124 USD a month: as staging, and 3 NAT gateways (98.55, and 0.045 per GB through them) with a
        # public IPv4 address each (10.95). With nat=instance about 37: 3 t4g.nano, their addresses and disks (22).
        StageConfig(
            stage="prod",
            topology=Topology.VPC_VALKEY,
            livemode=True,
            azs=3,
            usage_caps=UsageCaps(storage_gb=10, ecpu_per_second=50_000),
            webhook_rate=200,
            webhook_burst=400,
            reconcile_minutes=5,
            log_retention_days=365,
            retain=True,
            termination_protection=True,
        ),
    )
}


# What only means something where there is a VPC, or where there is a cache of the kind.
OF_VPC = ("cidr", "azs", "nat", "nat_gateways", "nat_image", "interface_endpoints", "flow_logs")
OF_NODES = ("node_type", "shards", "replicas")


def stage_config(stage: object, **overrides: object) -> StageConfig:
    """Return the stage's configuration, with those overrides that are not None.

    Overrides may be text, as CDK context gives them. Raises StageError naming what is unknown, what cannot be read, and
    what would have no effect in the topology that results.
    """
    if not isinstance(stage, str) or stage not in STAGES:
        given = f"stage={stage!r} is unknown" if stage else "no stage was given"
        raise StageError(f"{given}: pass -c stage=NAME with one of {', '.join(STAGES)}")
    known = [one.name for one in dataclasses.fields(StageConfig) if one.name != "stage"]
    check_names(overrides, known, "setting of a stage")
    changes: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
    config = dataclasses.replace(STAGES[stage], **changes)
    for name in changes:
        _check_effect(name, config)
    return config


def config_from_context(context: Mapping[str, object]) -> StageConfig:
    """Return what the context of an app asks for: `stage`, and any other field by its name. Raises StageError."""
    mine = own_context(context)
    return stage_config(mine.pop("stage", None), **mine)


def _check_effect(name: str, config: StageConfig) -> None:
    wanted = f"{name}={getattr(config, name)!r}"
    if config.topology is not Topology.VPC_VALKEY and name in (*OF_VPC, *OF_NODES):
        raise StageError(f"{wanted}: topology {config.topology} has no VPC: leave it out, or set topology=vpc-valkey")
    if config.topology is Topology.DYNAMODB_ONLY and name in {"usage_caps", "redis_kind"}:
        raise StageError(f"{wanted}: topology {config.topology} has no Valkey: leave it out, or set another topology")
    if config.redis_kind is RedisKind.SERVERLESS and name in OF_NODES:
        raise StageError(f"{wanted}: a serverless cache has no nodes: leave it out, or set redis_kind=nodes")
    if config.redis_kind is RedisKind.NODES and name == "usage_caps":
        raise StageError(f"{wanted}: nodes have no usage caps: leave it out, or set redis_kind=serverless")
