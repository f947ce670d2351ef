from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest
from synthesis import ROOT

from stripe_cache_cdk.config import (
    STAGES,
    Nat,
    RedisKind,
    StageConfig,
    Topology,
    UsageCaps,
    config_from_context,
    stage_config,
)
from stripe_cache_cdk.errors import StageError
from stripe_cache_cdk.runtime_options import RuntimeOptions
from stripe_cache_cdk.thresholds import Thresholds


def test_each_stage_has_the_topology_that_the_documents_name() -> None:
    assert {name: config.topology.value for name, config in STAGES.items()} == {
        "dev": "dynamodb-only",
        "staging": "public-valkey",
        "prod": "vpc-valkey",
    }


def test_only_prod_keeps_data_and_only_dev_may_be_deleted_by_a_slip() -> None:
    assert [name for name, config in STAGES.items() if config.retain] == ["prod"]
    assert [name for name, config in STAGES.items() if not config.termination_protection] == ["dev"]


def test_a_live_stage_looks_for_lost_events_more_often() -> None:
    assert {name: config.reconcile_minutes for name, config in STAGES.items()} == {"dev": 15, "staging": 15, "prod": 5}


def test_what_is_hot_is_noted_in_valkey_only() -> None:
    assert stage_config("staging", refresh_hot="true").refresh_hot
    with pytest.raises(StageError, match=r"^refresh_hot=True: .* set a topology that has it"):
        stage_config("dev", refresh_hot="true")


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        STAGES["dev"].azs = 3  # type: ignore[misc]  # That it cannot be done is the point.


@pytest.mark.parametrize("stage", ["", None, "production", "DEV"])
def test_an_unknown_stage_is_refused_with_those_there_are(stage: str | None) -> None:
    with pytest.raises(StageError, match=r"pass -c stage=NAME with one of dev, staging, prod"):
        stage_config(stage)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stage", "x"),
        ("account", "12345"),
        ("region", "useast1"),
        ("qualifier", "Prod"),
        ("qualifier", "a" * 11),
        ("namespace", "a b"),
        ("namespace", "x" * 65),
        ("topology", "moon"),
        ("nat", "carrier pigeon"),
        ("redis_kind", "memcached"),
        ("architecture", "mips"),
        ("cidr", "10.20.0.0/23"),
        ("cidr", "10.20.0.0/15"),
        ("cidr", "10.20.0.1/20"),
        ("cidr", "ten"),
        ("azs", 1),
        ("azs", 4),
        ("nat_gateways", 3),
        ("nat_gateways", -1),
        ("replicas", 6),
        ("node_type", "r7g.large"),
        ("python", "3.10"),
        ("webhook_rate", 0),
        ("webhook_burst", 10),
        ("webhook_concurrency", 1_001),
        ("log_retention_days", 2),
        ("alarm_email", "nobody"),
        ("stripe_event_bus", "default"),
        ("object_types", ("Customer",)),
        ("stage", ""),
        ("stage", ["dev", "prod"]),
        ("account", 12345678901),
        ("account", 1.2e11),
        ("namespace", "default"),
        ("cidr", "8.8.0.0/16"),
        ("cidr", 10),
        ("azs", "three"),
        ("azs", True),
        ("azs", 2.5),
        ("nat_image", "al2023"),
        ("interface_endpoints", "Secrets Manager"),
        ("interface_endpoints", 7),
        ("flow_logs", "perhaps"),
        ("retain", 1),
        ("shards", 0),
        ("shards", 501),
        ("node_type", "cache.r6gd.xlarge"),
        ("python", 3.13),
        ("usage_caps", 5),
        ("usage_caps", "memory=5"),
        ("usage_caps", {"storage_gb": "a lot"}),
        ("log_retention_days", "month"),
    ],
)
def test_a_bad_value_names_its_field(field: str, value: Any) -> None:
    values: dict[str, Any] = {"stage": "dev", "topology": Topology.VPC_VALKEY, field: value}
    with pytest.raises(StageError, match=rf"{field}\b"):
        StageConfig(**values)


@pytest.mark.parametrize(
    ("caps", "field"),
    [
        ({"storage_gb": 0}, "storage_gb"),
        ({"storage_gb": 5_001}, "storage_gb"),
        ({"ecpu_per_second": 999}, "ecpu_per_second"),
        ({"ecpu_per_second": 15_000_001}, "ecpu_per_second"),
        ({"storage_gb": 1.5}, "storage_gb"),
        ({"storage_gb": True}, "storage_gb"),
    ],
)
def test_usage_caps_have_bounds(caps: dict[str, Any], field: str) -> None:
    with pytest.raises(StageError, match=rf"^usage_caps\.{field}="):
        StageConfig(stage="dev", topology=Topology.PUBLIC_VALKEY, usage_caps=UsageCaps(**caps))


def test_a_vpc_without_a_way_out_is_refused() -> None:
    with pytest.raises(StageError, match=r"nat=none: .*reach Stripe: use gateway or instance"):
        StageConfig(stage="dev", topology=Topology.VPC_VALKEY, nat=Nat.NONE)


def test_snap_start_needs_a_python_that_has_it() -> None:
    with pytest.raises(StageError, match=r"3\.12"):
        StageConfig(stage="dev", topology=Topology.DYNAMODB_ONLY, python="3.11", snap_start=True)


def test_overrides_replace_what_the_stage_says_and_none_leaves_it() -> None:
    config = stage_config("dev", topology="vpc-valkey", region=None, namespace="acme")
    assert (config.topology, config.region, config.namespace) == (Topology.VPC_VALKEY, "", "acme")


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        ({"azs": "3"}, "azs", 3),
        ({"cidr": "10.9.0.0/21"}, "cidr", "10.9.0.0/21"),
        ({"account": 123456789012}, "account", "123456789012"),
        ({"account": "012345678901"}, "account", "012345678901"),
        ({"retain": "true"}, "retain", True),
        ({"flow_logs": "off"}, "flow_logs", False),
        ({"interface_endpoints": "sqs, kms"}, "interface_endpoints", ("sqs", "kms")),
        ({"object_types": ["price"]}, "object_types", ("price",)),
        ({"redis_kind": "nodes"}, "redis_kind", RedisKind.NODES),
        ({"usage_caps": "storage_gb=3"}, "usage_caps", UsageCaps(storage_gb=3)),
        ({"usage_caps": {"ecpu_per_second": 2_000}}, "usage_caps", UsageCaps(ecpu_per_second=2_000)),
        ({"runtime": "memory_max_lag=5,origin_wait=1"}, "runtime", RuntimeOptions(memory_max_lag=5, origin_wait=1)),
        (
            {"runtime": {"policy": {"price": {"ttl": 60}}, "rate_limits": "off", "audit_rate": None}},
            "runtime",
            RuntimeOptions(policy={"price": {"ttl": 60}}, rate_limits="off"),
        ),
        (
            {"runtime": '{"rate_limits": {"live": 500}, "memory_max_bytes": "0"}'},
            "runtime",
            RuntimeOptions(rate_limits={"live": 500}, memory_max_bytes=0),
        ),
        ({"thresholds": "hit_ratio_percent=55.5"}, "thresholds", Thresholds(hit_ratio_percent=55.5)),
        ({"thresholds": {"dead_letters": 2}}, "thresholds", Thresholds(dead_letters=2)),
        ({"nat": "instance", "nat_image": "ami-01234567", "region": "eu-west-1"}, "nat_image", "ami-01234567"),
    ],
)
def test_context_is_read_as_the_field_is_typed(given: dict[str, object], field: str, expected: object) -> None:
    config = config_from_context({"stage": "prod", "@aws-cdk/core:flag": True, "aws:cdk:path": "x", **given})
    assert getattr(config, field) == expected
    assert type(getattr(config, field)) is type(expected)


def test_plain_text_in_python_is_as_good_as_the_enumeration() -> None:
    config = StageConfig(stage="dev", topology="vpc-valkey", nat="instance")  # type: ignore[arg-type]  # The point.
    assert (config.topology, config.nat) == (Topology.VPC_VALKEY, Nat.INSTANCE)
    assert isinstance(config.topology, Topology)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"shards": 2, "replicas": 0}, r"replicas=0 with shards=2: .*: give replicas"),
        ({"nat_image": "ami-01234567", "region": "eu-west-1"}, r"nat_image=.*: set nat=instance"),
        ({"nat_image": "ami-01234567", "nat": Nat.INSTANCE}, r"nat_image=.*: set region"),
        ({"topology": Topology.PUBLIC_VALKEY, "redis_kind": RedisKind.NODES}, r"redis_kind=nodes: .*: use serverless"),
    ],
)
def test_values_that_contradict_each_other_are_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(StageError, match=told):
        StageConfig(**{"stage": "dev", "topology": Topology.VPC_VALKEY, **values})


@pytest.mark.parametrize(
    ("context", "told"),
    [
        ({"stage": "dev", "cidr": "10.0.0.0/20"}, r"^cidr='10.0.0.0/20': topology dynamodb-only has no VPC: leave it"),
        ({"stage": "staging", "azs": "3"}, r"^azs=3: topology public-valkey has no VPC"),
        ({"stage": "dev", "usage_caps": "storage_gb=2"}, r"^usage_caps=.*: topology dynamodb-only has no Valkey"),
        ({"stage": "prod", "replicas": "2"}, r"^replicas=2: a serverless cache has no nodes: .*redis_kind=nodes"),
        (
            {"stage": "prod", "redis_kind": "nodes", "usage_caps": "storage_gb=2"},
            r"^usage_caps=.*: nodes have no usage",
        ),
        ({"stage": "dev", "cidrs": "10.0.0.0/20"}, r"^cidrs is no setting of a stage: did you mean cidr\?"),
        ({"stage": "dev", "colour": "red"}, r"^colour is no setting of a stage: there are topology, account, "),
    ],
)
def test_context_without_effect_is_refused_and_never_ignored(context: dict[str, object], told: str) -> None:
    with pytest.raises(StageError, match=told):
        config_from_context(context)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"runtime": "memory_max_lag=61"}, r"^runtime\.memory_max_lag=61.*: give 0 to 60 seconds"),
        ({"runtime": "memory_max_lag=soon"}, r"^runtime\.memory_max_lag='soon': give a number"),
        ({"runtime": "lag=5"}, r"^lag is no part of runtime: "),
        ({"runtime": "policy=price"}, r"^runtime\.policy='price': give a mapping, in JSON"),
        ({"runtime": '{"policy": '}, r"^runtime is no JSON \(.*\): mend it, or give name=value"),
        ({"runtime": {"rate_limits": "on"}}, r"^runtime\.rate_limits='on': give a mapping"),
        ({"runtime": 5}, r"^runtime=5: give policy=\.\.\.,"),
        ({"thresholds": "hit_ratio_percent=101"}, r"^thresholds\.hit_ratio_percent=101.*: give 0 to 100"),
        ({"thresholds": "dead_letters=1.5"}, r"^thresholds\.dead_letters='1\.5': give a whole number"),
    ],
)
def test_options_of_the_runtime_and_limits_of_alarms_name_their_field(given: dict[str, object], told: str) -> None:
    with pytest.raises(StageError, match=told):
        stage_config("prod", **given)


@pytest.mark.parametrize(
    ("context", "told"),
    [
        ({"stage": ["dev", "prod"]}, "app.py: stage=['dev', 'prod'] is unknown: pass -c stage=NAME with one of dev, "),
        ({"stage": "dev", "azz": "3"}, "app.py: azz is no setting of a stage: did you mean azs?"),
        ({"stage": "prod", "cidr": "10.0.0.0/28"}, "app.py: cidr='10.0.0.0/28': a VPC here needs between /16 and /22"),
        ({"stage": "moon"}, "app.py: stage='moon' is unknown: pass -c stage=NAME with one of dev, staging, prod"),
        ({}, "app.py: no stage was given: pass -c stage=NAME with one of dev, staging, prod"),
        ({"stage": "dev", "topology": "moon"}, "app.py: topology='moon' is unknown: choose one of dynamodb-only, "),
    ],
)
def test_the_app_says_in_one_line_what_is_wrong(context: dict[str, object], told: str) -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "app.py")],
        capture_output=True,
        text=True,
        check=False,
        env={"CDK_CONTEXT_JSON": json.dumps(context), "PATH": f"{ROOT / '.venv' / 'bin'}:/usr/bin:/bin"},
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(told)
    assert len(ended.stderr.strip().splitlines()) == 1


def test_the_app_is_short() -> None:
    assert len((ROOT / "app.py").read_text().splitlines()) < 50
