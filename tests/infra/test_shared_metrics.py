"""Two caches that CloudWatch could not tell apart."""

from __future__ import annotations

import aws_cdk as cdk
import pytest
from aws_cdk import assertions
from synthesis import make_app

from stripe_cache_cdk import Events, StripeCache


@pytest.mark.parametrize(
    ("stage", "regions", "warned"),
    [
        ("dev", ("", ""), True),
        ("dev", ("eu-west-1", "eu-west-1"), True),
        ("dev", ("eu-west-1", ""), True),
        ("dev", ("eu-west-1", "us-east-1"), False),
        ("payments", ("", ""), False),
    ],
)
def test_two_caches_whose_metrics_would_be_added_up_are_warned_of(
    stage: str, regions: tuple[str, str], *, warned: bool
) -> None:
    app = make_app()
    one, other = (
        cdk.Stack(
            app,
            f"Stack{number}",
            env=cdk.Environment(account="123456789012" if region else None, region=region or None),
        )
        for number, region in enumerate(regions)
    )
    StripeCache(one, "One", events=Events.NONE)
    StripeCache(other, "Other", events=Events.NONE, stage=stage)
    told = assertions.Annotations.from_stack(other).find_warning(
        "*", assertions.Match.string_like_regexp("are added to")
    )
    assert [str(found.entry.data).split(",")[0] for found in told] == (
        ["its metrics are added to those of Stack0/One"] if warned else []
    )
    assert not assertions.Annotations.from_stack(one).find_warning("*", assertions.Match.any_value())
