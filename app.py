"""The CDK app: `cdk synth -c stage=dev`. The only place that reads CDK context.

Context: `stage` (dev, staging or prod) and, to deviate from what the stage says, `topology`, `nat`, `redis_kind`,
`architecture`, `python`, `account`, `region`, `namespace`, `stripe_event_bus`, `alarm_email`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import aws_cdk as cdk

# Works from a checkout that was not installed, too.
sys.path.insert(0, str(Path(__file__).resolve().parent / "infra"))

from stripe_cache_cdk.config import stage_config
from stripe_cache_cdk.errors import InfrastructureError
from stripe_cache_cdk.stacks.stage import build_stage

OVERRIDES = (
    *("topology", "nat", "redis_kind", "architecture", "python"),
    *("account", "region", "namespace", "stripe_event_bus", "alarm_email"),
)


def main() -> int:
    """Synthesize one stage; say in one line what is wrong with the context."""
    app = cdk.App()
    context = app.node.try_get_context
    try:
        build_stage(app, stage_config(context("stage"), **{name: context(name) for name in OVERRIDES}))
    except InfrastructureError as error:
        print(f"app.py: {error}", file=sys.stderr)  # noqa: T201  # What a command line says on its way out.
        return 1
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
