"""Synthesis is a function of the commit: it asks nobody anything, and costs little more than an empty app."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import aws_cdk as cdk
import pytest
from dashboards import alarm_of
from synthesis import CONTEXT, ROOT, make_app, resources

from benchmarks.synthesis import measure
from stripe_cache_cdk.config import Topology, stage_config
from stripe_cache_cdk.constructs import environment as env
from stripe_cache_cdk.constructs.interpreters import find_uv
from stripe_cache_cdk.stacks.stage import build_stage


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


def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)
    assert ended.returncode == 0, ended.stderr[-2_000:]
    return ended


# Whoever asks a package index or AWS for anything gets no answer.
NO_NETWORK = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
    "UV_OFFLINE": "1",
    "npm_config_offline": "true",
}


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
    store = assembly.get_stack_by_name(stacks.store.stack_name).template
    watched = assembly.get_stack_by_name(stacks.monitoring.stack_name).template
    sources = [rule["Properties"].get("EventBusName") for rule in resources(store, "AWS::Events::Rule").values()]
    assert sources.count("aws.partner/stripe.com/ed_1") == 1
    assert [name for name in resources(watched, "AWS::CloudWatch::Alarm") if "EventsDeadLetters" in name]


def test_an_operator_turns_the_runtime_and_the_alarms_without_writing_code() -> None:
    app = make_app()
    config = stage_config("dev", runtime="memory_max_lag=5,origin_wait=0", thresholds="hit_ratio_percent=42")
    stacks = build_stage(app, config)
    assembly = app.synth()
    service = assembly.get_stack_by_name(stacks.service.stack_name).template
    attached = [
        found["Properties"]["Environment"]["Variables"]
        for found in resources(service, "AWS::Lambda::Function").values()
        if env.TABLE in found["Properties"]["Environment"]["Variables"]
    ]
    assert len(attached) >= 4
    assert {(told[env.MEMORY_MAX_LAG], told[env.ORIGIN_WAIT]) for told in attached} == {("5.0", "0.0")}
    watched = assembly.get_stack_by_name(stacks.monitoring.stack_name).template
    assert alarm_of(watched, "HitRatio")["Threshold"] == 42


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


def test_after_setup_make_synth_needs_no_network_and_a_second_one_installs_nothing(tmp_path: Path) -> None:
    """The suite runs under `make test`, whose first step was `make setup`."""

    def bundle() -> tuple[str, int]:
        (found,) = (tmp_path / "out").glob("asset.*/stripe_cache/__init__.py")
        return found.parents[1].name, found.stat().st_ino

    command = ["make", "synth", "STAGE=dev", f"OUT={tmp_path / 'out'}"]
    offline = environment(tmp_path) | NO_NETWORK
    assert "setup:" not in run(command, offline).stdout, "nothing was left to set up"
    made = bundle()
    # Without wheels any installation would fail now.
    run(command, offline | {"UV_CACHE_DIR": str(tmp_path / "empty")})
    assert bundle() == made


def test_without_wheels_and_network_the_command_line_says_one_line_and_no_traceback(tmp_path: Path) -> None:
    env = environment(tmp_path) | NO_NETWORK | {"UV_CACHE_DIR": str(tmp_path / "empty")}
    ended = subprocess.run(
        cdk_synth(tmp_path / "out", "-c", "stage=dev"), capture_output=True, text=True, check=False, cwd=ROOT, env=env
    )
    assert ended.returncode != 0
    (told,) = [line for line in ended.stderr.splitlines() if line.startswith("app.py: ")]
    assert told.startswith("app.py: stripe-cache-dev-service/Webhook/Function: ")
    assert "could not be installed for Python 3.13 on arm64" in told
    assert "Traceback" not in ended.stderr
    assert "jsii" not in ended.stderr


@pytest.mark.slow
def test_a_synthesis_takes_at_most_twice_as_long_as_an_empty_app_and_the_bundling() -> None:
    """What `make bench-synth` measures. Slow: it needs a machine of its own."""
    measured = measure("dev", rounds=3)
    assert measured.is_within_target, measured
