from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest
from synthesis import ROOT

from stripe_cache_cdk.config import STAGES, Nat, StageConfig, Topology, UsageCaps, stage_config
from stripe_cache_cdk.errors import StageError


def test_each_stage_has_the_topology_that_the_documents_name() -> None:
    assert {name: config.topology.value for name, config in STAGES.items()} == {
        "dev": "dynamodb-only",
        "staging": "public-valkey",
        "prod": "vpc-valkey",
    }


def test_only_prod_keeps_data_and_only_dev_may_be_deleted_by_a_slip() -> None:
    assert [name for name, config in STAGES.items() if config.retain] == ["prod"]
    assert [name for name, config in STAGES.items() if not config.termination_protection] == ["dev"]


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
    ],
)
def test_usage_caps_have_bounds(caps: dict[str, int], field: str) -> None:
    with pytest.raises(StageError, match=field):
        UsageCaps(**caps)


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
    ("context", "told"),
    [
        ({"stage": "moon"}, "app.py: stage='moon' is unknown: pass -c stage=NAME with one of dev, staging, prod"),
        ({}, "app.py: no stage was given: pass -c stage=NAME with one of dev, staging, prod"),
        ({"stage": "dev", "topology": "moon"}, "app.py: topology='moon' is unknown: choose one of dynamodb-only, "),
    ],
)
def test_the_app_says_in_one_line_what_is_wrong(context: dict[str, str], told: str) -> None:
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
