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
from stripe_cache_cdk.constructs.interpreters import find_uv
from stripe_cache_cdk.stacks.stage import build_stage

EMPTY_APP = """
import aws_cdk as cdk
app = cdk.App()
cdk.CfnResource(cdk.Stack(app, "Empty"), "Topic", type="AWS::SNS::Topic")
app.synth()
"""


def environment(home: Path) -> dict[str, str]:
    """Return nothing that leads to an account or its credentials; `home` is empty."""
    kept = {name: os.environ[name] for name in ("LANG", "PYENV_ROOT") if name in os.environ}
    programs = [str(ROOT / ".venv" / "bin"), "/usr/bin", "/bin"]
    cache = subprocess.run([find_uv(), "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        **kept,
        "HOME": str(home),
        "PATH": os.pathsep.join(programs),
        "UV_CACHE_DIR": cache,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "none"),
        "AWS_CONFIG_FILE": str(home / "none"),
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
    sources = [rule["Properties"].get("EventBusName") for rule in resources(service, "AWS::Events::Rule").values()]
    assert sources.count("aws.partner/stripe.com/ed_1") == 1
    assert [name for name in resources(watched, "AWS::CloudWatch::Alarm") if "EventDeadLetters" in name]


def test_nothing_in_cdk_json_differs_from_what_the_tests_run_under() -> None:
    app = make_app()
    assert {name: app.node.try_get_context(name) for name in CONTEXT} == CONTEXT
    assert CONTEXT["@aws-cdk/core:defaultCrossStackReferences"] == "weak"


def test_every_feature_flag_that_cdk_recommends_is_set() -> None:
    assert len([name for name in CONTEXT if name.startswith("@aws-cdk")]) > 80
    assert cdk.FeatureFlags.of(cdk.Stack(make_app(), "S")).is_enabled("@aws-cdk/core:validateAgainstDefaultRules")


def cdk_synth(output: Path, *arguments: str) -> list[str]:
    program = str(ROOT / "node_modules" / ".bin" / "cdk")
    return [program, "synth", "--quiet", "--no-notices", "--output", str(output), *arguments]


def test_the_command_line_synthesizes_without_network_and_reuses_its_bundle(tmp_path: Path) -> None:
    def bundle(folder: Path) -> tuple[str, int]:
        (found,) = folder.glob("asset.*/stripe_cache/__init__.py")
        return found.parents[1].name, found.stat().st_ino

    # The first one may have to fetch wheels for Lambda's processor.
    cpu_seconds(cdk_synth(tmp_path / "first", "-c", "stage=dev"), environment(tmp_path))
    offline = environment(tmp_path) | {"UV_OFFLINE": "1"}
    cpu_seconds(cdk_synth(tmp_path / "second", "-c", "stage=dev"), offline)
    made = bundle(tmp_path / "second")
    assert made[0] == bundle(tmp_path / "first")[0]
    cpu_seconds(cdk_synth(tmp_path / "second", "-c", "stage=dev"), offline)
    assert bundle(tmp_path / "second") == made


@pytest.mark.slow
def test_a_warm_synthesis_takes_at_most_twice_as_long_as_an_empty_app(tmp_path: Path) -> None:
    """Best of three each; the first run bundles and does not count. Slow: it needs a machine of its own."""
    (tmp_path / "empty.py").write_text(EMPTY_APP)
    env = environment(tmp_path)
    ours = cdk_synth(tmp_path / "ours", "-c", "stage=dev")
    empty = cdk_synth(tmp_path / "empty", "--app", f"{sys.executable} {tmp_path / 'empty.py'}")
    cpu_seconds(ours, env)
    best = [min(cpu_seconds(command, env) for _ in range(3)) for command in (ours, empty)]
    assert best[0] <= 2 * best[1], best
