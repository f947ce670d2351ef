"""Every stage in every topology, synthesized once per session under the context of cdk.json."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import assertions

from stripe_cache_cdk.config import STAGES, StageConfig, Topology, stage_config
from stripe_cache_cdk.stacks.stage import StageStacks, build_stage

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("store", "service", "monitoring")
COMBINATIONS = [(stage, topology) for stage in STAGES for topology in Topology]
CONTEXT: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]


def make_app(**context: Any) -> cdk.App:
    """Return an app as `cdk synth` would start it, except that assets stay unbundled."""
    return cdk.App(analytics_reporting=False, context=CONTEXT | {"aws:cdk:bundling-stacks": []} | context)


@functools.cache
def synthesized(stage: str, topology: Topology) -> tuple[StageConfig, StageStacks]:
    """Return a stage's stacks in a topology; the same ones for every test."""
    config = stage_config(stage, topology=topology)
    return config, build_stage(make_app(), config)


@functools.cache
def template_of(stage: str, topology: Topology, part: str) -> dict[str, Any]:
    """Return the template of one stack as CloudFormation gets it."""
    rendered: dict[str, Any] = assertions.Template.from_stack(getattr(synthesized(stage, topology)[1], part)).to_json()
    return rendered


def resources(template: dict[str, Any], *types: str) -> dict[str, dict[str, Any]]:
    """Return the resources of these types, by logical id."""
    return {name: value for name, value in template.get("Resources", {}).items() if value["Type"] in types}


def merged(stage: str, topology: Topology) -> dict[str, Any]:
    """Return the resources of all three stacks, their ids prefixed by the stack."""
    found: dict[str, Any] = {}
    for part in PARTS:
        for name, value in template_of(stage, topology, part).get("Resources", {}).items():
            found[f"{part}.{name}"] = value
    return {"Resources": found}


def render(stack: cdk.Stack) -> dict[str, Any]:
    """Return the template of a stack that a test made."""
    rendered: dict[str, Any] = assertions.Template.from_stack(stack).to_json()
    return rendered


def text_of(value: Any) -> str:
    """Return a template's value as one string, intrinsic functions included, to look for names in."""
    return json.dumps(value, sort_keys=True)
