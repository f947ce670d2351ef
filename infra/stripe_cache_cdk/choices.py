"""What a stage, or a construct alone, can be told: the choices there are, and the bounds of numbers and names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, get_type_hints

from stripe_cache_cdk.checks import check_match, check_range
from stripe_cache_cdk.errors import StageError
from stripe_cache_cdk.overrides import converted

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 180, 365, 731, 1827, 3653)
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# The newest that machines usually have: byte code needs an interpreter of the very version where the zip is made.
DEFAULT_PYTHON = "3.13"
EMAIL = r"([^@\s]+@[^@\s]+)?"
# A family by its letters, its generation, what is special about it, and the size: new generations are welcome. The
# burstable family (t) ends where the others begin: there is no cache.t4g.large, and no cache.r7g.medium.
NODE_TYPE = r"cache\.(t[1-9][a-z]{0,3}\.(micro|small|medium)|[a-su-z][a-z]?[1-9][a-z]{0,3}\.(large|([1-9]\d?)?xlarge))"
# ElastiCache's quota for a cluster, unless an account had it raised. Five alarms look at each, for 0.50 USD a month.
MOST_NODES = 90
# What Stripe and ElastiCache document for the commercial partition only: partner event sources, public endpoints.
OTHER_PARTITIONS = ("cn-", "us-gov-", "us-iso", "eu-isoe-", "eusc-")
NO_PARTNER = "has no event sources of Stripe, which are partners in the commercial regions only"
WITH_GATEWAY = ("dynamodb", "s3")


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
    at both limits costs 0.084 USD per GB and 0.0023 USD per million ECPU. Checked where they are used, so that an error
    names the construct.
    """

    storage_gb: int = 1
    ecpu_per_second: int = 5_000

    def check(self) -> None:
        """Raise StageError for a field that ElastiCache would refuse."""
        check_range("usage_caps.storage_gb", self.storage_gb, 1, 5_000, "GB")
        check_range("usage_caps.ecpu_per_second", self.ecpu_per_second, 1_000, 15_000_000, "ECPU/s")


def check_namespace(namespace: str) -> None:
    """Raise StageError for a label that the runtime would refuse to start with."""
    check_match("namespace", namespace, r"[A-Za-z0-9_-]{1,64}", "1 to 64 letters, digits, - and _")
    if namespace == "default":
        raise StageError(
            "namespace='default' is what an unset one is called: label the Stripe account, best by its acct_... id"
        )


def check_services(names: Sequence[str]) -> None:
    """Raise StageError for what is no AWS service as interface endpoints are named, or needs no such endpoint."""
    for name in names:
        check_match("interface_endpoints", name, r"[a-z][a-z0-9.-]*", "names of services such as secretsmanager or sqs")
        if name in WITH_GATEWAY:
            raise StageError(
                f"interface_endpoints={name!r}: its gateway endpoint costs nothing and does as well: leave it out"
            )
    twice = [name for name in names if list(names).count(name) > 1]
    if twice:
        raise StageError(f"interface_endpoints={twice[0]!r} is named twice: name it once")


def check_object_type(name: str) -> None:
    """Raise StageError for what is no type of Stripe's objects."""
    check_match("object_types", name, r"[a-z][a-z0-9_.]*", "names of Stripe objects such as customer")


def check_nodes(node_type: str, shards: int, replicas: int) -> None:
    """Raise StageError for nodes that ElastiCache would refuse."""
    check_match("node_type", node_type, NODE_TYPE, "a type such as cache.t4g.small or cache.r7g.large")
    if re.match(r"cache\.[a-z]+\dgd\.", node_type):
        raise StageError(f"node_type={node_type!r} tiers data to disk: give a type such as cache.r7g.large")
    check_range("shards", shards, 1, MOST_NODES // 2, "shards")
    check_range("replicas", replicas, 0, 5, "replicas per shard")
    if shards > 1 and replicas == 0:
        # Cluster mode demands automatic failover, and a primary without a replica has nothing to fail over to.
        raise StageError(f"replicas=0 with shards={shards}: a cluster fails over: give replicas of 1 to 5, or shards=1")
    nodes = shards * (1 + replicas)
    if nodes > MOST_NODES:
        raise StageError(
            f"shards={shards} with replicas={replicas} makes {nodes} nodes, and a cluster has {MOST_NODES} at most: "
            "give fewer, of a larger node_type"
        )


def cores_of(node_type: str) -> int | None:
    """Return how many virtual processors a small node has: two up to `large`. None for a larger one."""
    return None if node_type.endswith("xlarge") else 2


def convert_fields(configuration: Any) -> None:
    """Give each field its type, so that `topology="vpc-valkey"` and a command line's `azs=3` mean what they say."""
    for name, kind in get_type_hints(type(configuration)).items():
        value = converted(name, getattr(configuration, name), kind)
        object.__setattr__(configuration, name, value)
