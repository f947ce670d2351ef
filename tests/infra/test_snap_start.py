"""Functions that start from a snapshot: what must be published, and where Lambda takes none."""

from __future__ import annotations

import aws_cdk as cdk
import pytest
from aws_cdk import assertions
from aws_cdk import aws_lambda as lambda_
from synthesis import of_function, render, resources, text_of

from stripe_cache_cdk import Architecture, ConstructError, FunctionOptions, RuntimeFunction, StripeCache


def test_with_snap_start_event_sources_call_the_published_version(stack: cdk.Stack) -> None:
    StripeCache(stack, "Cache", function_options=FunctionOptions(snap_start=True), monitoring=False)
    template = render(stack)
    assert len(resources(template, "AWS::Lambda::Alias")) == 2
    (mapping,) = resources(template, "AWS::Lambda::EventSourceMapping").values()
    assert ":live" in text_of(mapping["Properties"]["FunctionName"])
    assert of_function(template, "CacheWebhookFunction")["SnapStart"] == {"ApplyOn": "PublishedVersions"}


@pytest.mark.parametrize(
    ("python", "placement", "told"),
    [
        ("3.11", {}, r"SnapStart needs Python 3\.12 or newer, and python='3\.11': raise python"),
        (
            "3.13",
            {"ephemeral_storage_size": cdk.Size.mebibytes(1024)},
            r"512 MiB of ephemeral storage, not 1024: lower",
        ),
    ],
)
def test_snap_start_where_lambda_has_none_is_refused(
    stack: cdk.Stack, python: str, placement: dict[str, cdk.Size], told: str
) -> None:
    with pytest.raises(ConstructError, match=rf"^Test/Mine: .*{told}"):
        RuntimeFunction(
            stack, "Mine", handler="a.b", options=FunctionOptions(python=python, snap_start=True), **placement
        )


@pytest.mark.parametrize("architecture", Architecture)
def test_snap_start_is_warned_of_where_no_version_is_made(stack: cdk.Stack, architecture: Architecture) -> None:
    lambda_.Function(
        stack,
        "Plain",
        runtime=lambda_.Runtime.PYTHON_3_13,
        handler="index.handler",
        code=lambda_.Code.from_inline("def handler(event, context): ..."),
        snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS,
    )
    options = FunctionOptions(snap_start=True, architecture=architecture)
    ours = RuntimeFunction(stack, "Ours", handler="a.b", options=options)
    assert isinstance(ours.invoked, lambda_.Alias)
    about = assertions.Match.string_like_regexp("SnapStart")
    warned = assertions.Annotations.from_stack(stack).find_warning("*", about)
    assert [one.id for one in warned] == ["/Test/Plain"]
