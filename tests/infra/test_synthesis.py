"""Synthesis is a function of the commit: it asks nobody anything, and costs little more than an empty app."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import pytest
from synthesis import CONTEXT, ROOT, make_app, resources

from stripe_cache_cdk.config import Topology, stage_config
from stripe_cache_cdk.stacks.stage import build_stage

EMPTY_APP = "import aws_cdk as cdk; app = cdk.App(); cdk.CfnResource(cdk.Stack(app, 'S'), 'T', type='AWS::SNS::Topic')"


def environment(output: Path, **context: str) -> dict[str, str]:
    """Return what `cdk synth` tells an app, and nothing by which it could reach AWS or a proxy."""
    kept = ("HOME", "UV_CACHE_DIR", "PYENV_ROOT", "LANG")
    programs = [str(ROOT / ".venv" / "bin"), "/usr/bin", "/bin"]
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PATH": os.pathsep.join(programs),
        "CDK_OUTDIR": str(output),
        "CDK_CONTEXT_JSON": json.dumps(CONTEXT | context),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def cpu_seconds(command: list[str], env: dict[str, str]) -> float:
    """Return the processor time of a program and its children, which other programs on the machine do not stretch."""
    before = os.times()
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)
    assert ended.returncode == 0, ended.stderr[-2_000:]
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.mark.parametrize("topology", Topology)
def test_a_known_account_and_region_take_no_look_up(topology: Topology) -> None:
    config = stage_config("prod", topology=topology, account="123456789012", region="eu-west-1")
    app = make_app()
    build_stage(app, config)
    assembly = app.synth()
    assert "missing" not in json.loads((Path(assembly.directory) / "manifest.json").read_text())
    assert {stack.environment.region for stack in assembly.stacks} == {"eu-west-1"}


def test_the_stage_decides_what_may_be_deleted() -> None:
    for stage, kept in (("dev", False), ("staging", True), ("prod", True)):
        app = make_app()
        build_stage(app, stage_config(stage))
        assert {stack.termination_protection for stack in app.synth().stacks} == {kept}


def test_an_events_bus_is_wired_and_watched_when_it_is_named() -> None:
    app = make_app()
    stacks = build_stage(app, stage_config("dev", stripe_event_bus="aws.partner/stripe.com/ed_1"))
    assembly = app.synth()
    service = assembly.get_stack_by_name(stacks.service.stack_name).template
    watched = assembly.get_stack_by_name(stacks.monitoring.stack_name).template
    assert len(resources(service, "AWS::Events::Rule")) == 1
    assert [name for name in resources(watched, "AWS::CloudWatch::Alarm") if "EventDeadLetters" in name]


def test_nothing_in_cdk_json_differs_from_what_the_tests_run_under() -> None:
    app = make_app()
    assert {name: app.node.try_get_context(name) for name in CONTEXT} == CONTEXT
    assert CONTEXT["@aws-cdk/core:defaultCrossStackReferences"] == "weak"


def test_every_feature_flag_that_cdk_recommends_is_set() -> None:
    assert len([name for name in CONTEXT if name.startswith("@aws-cdk")]) > 80
    assert cdk.FeatureFlags.of(cdk.Stack(make_app(), "S")).is_enabled("@aws-cdk/core:validateAgainstDefaultRules")


def test_a_warm_synthesis_takes_at_most_twice_as_long_as_an_empty_app(tmp_path: Path) -> None:
    """Best of two each; the first run bundles and does not count."""
    ours = environment(tmp_path / "ours", stage="prod", topology="vpc-valkey")
    empty = environment(tmp_path / "empty")
    app, script = [sys.executable, "app.py"], [sys.executable, "-c", f"{EMPTY_APP}; app.synth()"]
    cpu_seconds(app, ours)
    bundles = sorted(path.stat().st_ino for path in (tmp_path / "ours").glob("asset.*"))
    best = [min(cpu_seconds(command, env) for _ in range(2)) for command, env in ((app, ours), (script, empty))]
    assert bundles == sorted(path.stat().st_ino for path in (tmp_path / "ours").glob("asset.*"))
    assert best[0] <= 2 * best[1], best
