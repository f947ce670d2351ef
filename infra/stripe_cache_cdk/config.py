"""What differs between stages, as one frozen value each.

Everything an operator may turn is a field here, checked when the value is made, so that a bad one stops synthesis and
not a deployment. The prices are us-east-1 list prices of 2026-11: check them before quoting.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum

from stripe_cache_cdk.checks import check_cidr, check_enum, check_match, check_range
from stripe_cache_cdk.errors import StageError

LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 180, 365, 731, 1827, 3653)
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


class Topology(StrEnum):
    """Which shared tiers exist, and what must be there to reach them."""

    DYNAMODB_ONLY = "dynamodb-only"
    PUBLIC_VALKEY = "public-valkey"
    VPC_VALKEY = "vpc-valkey"


class Nat(StrEnum):
    """How functions in private subnets reach Stripe, which publishes IPv4 addresses only."""

    GATEWAY = "gateway"
    INSTANCE = "instance"
    NONE = "none"


class RedisKind(StrEnum):
    """What runs Valkey: capacity billed by use, or nodes billed by the hour."""

    SERVERLESS = "serverless"
    NODES = "nodes"


class Events(StrEnum):
    """How a cache learns of changes at Stripe: its own webhook endpoint, one made elsewhere, or not at all."""

    WEBHOOK = "webhook"
    EXTERNAL = "external"
    NONE = "none"


class Architecture(StrEnum):
    """The processor of every function; arm64 costs 20 % less per second."""

    ARM64 = "arm64"
    X86_64 = "x86_64"


@dataclass(frozen=True, kw_only=True)
class UsageCaps:
    """The most a serverless cache may hold and do, which is the most it can cost.

    At `storage_gb` the cache evicts, at `ecpu_per_second` it throttles; both look like misses to callers. A full hour
    at both limits costs 0.084 USD per GB and 0.0023 USD per million ECPU.
    """

    storage_gb: int = 1
    ecpu_per_second: int = 5_000

    def __post_init__(self) -> None:
        check_range("usage_caps.storage_gb", self.storage_gb, 1, 5_000, "GB")
        check_range("usage_caps.ecpu_per_second", self.ecpu_per_second, 1_000, 15_000_000, "ECPU/s")


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage: where it runs, what it is made of, how carefully it is kept.

    `account` and `region` may stay empty: the stacks then go wherever the credentials of `cdk deploy` point, and
    synthesis asks AWS nothing either way. `nat_gateways` of 0 means one per availability zone.
    """

    stage: str
    topology: Topology
    account: str = ""
    region: str = ""
    namespace: str = ""
    livemode: bool = False

    cidr: str = "10.20.0.0/20"
    azs: int = 2
    nat: Nat = Nat.GATEWAY
    nat_gateways: int = 0
    flow_logs: bool = True

    redis_kind: RedisKind = RedisKind.SERVERLESS
    usage_caps: UsageCaps = UsageCaps()
    node_type: str = "cache.t4g.small"
    replicas: int = 1

    python: str = "3.13"
    architecture: Architecture = Architecture.ARM64
    snap_start: bool = False
    webhook_concurrency: int = 0
    webhook_rate: int = 50
    webhook_burst: int = 100
    stripe_event_bus: str = ""
    reconcile_minutes: int = 15
    log_retention_days: int = 30

    retain: bool = False
    termination_protection: bool = False
    alarm_email: str = ""
    object_types: tuple[str, ...] = ("customer", "invoice", "price", "product", "subscription")

    def __post_init__(self) -> None:
        check_match("stage", self.stage, r"[a-z][a-z0-9]{1,11}", "2 to 12 lower-case letters and digits")
        check_match("account", self.account, r"(\d{12})?", "the 12 digits of an AWS account, or nothing")
        check_match("region", self.region, r"([a-z]{2}(-[a-z]+)+-\d)?", "a region such as us-east-1, or nothing")
        check_match("namespace", self.namespace, r"[A-Za-z0-9_-]{0,64}", "at most 64 letters, digits, - and _")
        check_enum("topology", self.topology, Topology)
        check_enum("nat", self.nat, Nat)
        check_enum("redis_kind", self.redis_kind, RedisKind)
        check_enum("architecture", self.architecture, Architecture)
        check_cidr(self.cidr)
        check_range("azs", self.azs, 2, 3, "availability zones")
        check_range("nat_gateways", self.nat_gateways, 0, self.azs, "(0 means one per availability zone)")
        check_range("replicas", self.replicas, 0, 5, "replicas per shard")
        check_match("node_type", self.node_type, r"cache\.[a-z0-9]+\.[a-z0-9]+", "a type such as cache.r7g.large")
        if self.python not in PYTHONS:
            raise StageError(f"python={self.python!r}: choose one of {', '.join(PYTHONS)}")
        if self.snap_start and self.python == PYTHONS[0]:
            raise StageError("snap_start=True: SnapStart needs python 3.12 or newer: raise python or turn it off")
        check_range("webhook_concurrency", self.webhook_concurrency, 0, 1_000, "(0 reserves none)")
        check_range("webhook_rate", self.webhook_rate, 1, 10_000, "requests per second")
        check_range("webhook_burst", self.webhook_burst, self.webhook_rate, 20_000, "requests (webhook_rate or more)")
        check_range("reconcile_minutes", self.reconcile_minutes, 1, 1_440, "minutes between two sweeps")
        if self.log_retention_days not in LOG_RETENTION_DAYS:
            allowed = ", ".join(map(str, LOG_RETENTION_DAYS))
            raise StageError(f"log_retention_days={self.log_retention_days}: CloudWatch Logs keeps {allowed} days")
        check_match("alarm_email", self.alarm_email, r"([^@\s]+@[^@\s]+)?", "one e-mail address, or nothing")
        check_match("stripe_event_bus", self.stripe_event_bus, r"(aws\.partner/stripe\.com/\S+)?", STRIPE_BUS_HINT)
        if self.topology is Topology.VPC_VALKEY and self.nat is Nat.NONE:
            raise StageError(
                "nat=none: in topology vpc-valkey functions could not reach Stripe: use gateway or instance"
            )
        for name in self.object_types:
            check_match("object_types", name, r"[a-z][a-z0-9_.]*", "names of Stripe objects such as customer")


STRIPE_BUS_HINT = "the name of the partner bus, aws.partner/stripe.com/..., or nothing"

STAGES: dict[str, StageConfig] = {
    config.stage: config
    for config in (
        # Fixed cost about 4 USD a month: 2 secrets (0.80), 1 KMS key (1), some 20 alarms (2). No VPC, nothing idles.
        StageConfig(
            stage="dev",
            topology=Topology.DYNAMODB_ONLY,
            nat=Nat.INSTANCE,
            nat_gateways=1,
            log_retention_days=7,
        ),
        # Fixed cost about 10 USD a month: as dev, and 6.13 for the 100 MB that serverless Valkey bills at least.
        StageConfig(
            stage="staging",
            topology=Topology.PUBLIC_VALKEY,
            nat=Nat.INSTANCE,
            nat_gateways=1,
            log_retention_days=30,
            termination_protection=True,
        ),
        # Fixed cost about 109 USD a month: as staging, and 3 NAT gateways (98.55, plus 0.045 per GB through them).
        StageConfig(
            stage="prod",
            topology=Topology.VPC_VALKEY,
            livemode=True,
            azs=3,
            usage_caps=UsageCaps(storage_gb=10, ecpu_per_second=50_000),
            webhook_concurrency=50,
            webhook_rate=200,
            webhook_burst=400,
            log_retention_days=365,
            retain=True,
            termination_protection=True,
        ),
    )
}


def stage_config(stage: str | None, **overrides: str | None) -> StageConfig:
    """Return the stage's configuration, with those overrides that are not None.

    Overrides are text, as CDK context gives them. Raises StageError naming what is unknown and what there is.
    """
    if not stage or stage not in STAGES:
        given = f"stage={stage!r} is unknown" if stage else "no stage was given"
        raise StageError(f"{given}: pass -c stage=NAME with one of {', '.join(STAGES)}")
    config = STAGES[stage]
    kinds = {"topology": Topology, "nat": Nat, "redis_kind": RedisKind, "architecture": Architecture}
    changes = {
        name: check_enum(name, value, kinds[name]) if name in kinds else value
        for name, value in overrides.items()
        if value is not None
    }
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]  # __post_init__ checks each value
