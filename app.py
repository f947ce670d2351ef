"""The CDK app: `cdk synth -c stage=dev`. The only place that reads CDK context.

Context: `stage` (dev, staging or prod) and, to deviate from what the stage says, any field of StageConfig by its name:
`-c topology=vpc-valkey -c azs=3 -c usage_caps=storage_gb=2,ecpu_per_second=5000 -c runtime=memory_max_lag=5`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import aws_cdk as cdk

# Works from a checkout that was not installed, too.
sys.path.insert(0, str(Path(__file__).resolve().parent / "infra"))

from stripe_cache_cdk.config import config_from_context
from stripe_cache_cdk.errors import InfrastructureError
from stripe_cache_cdk.stacks.stage import build_stage


def main() -> int:
    """Synthesize one stage; say in one line what is wrong with the context."""
    app = cdk.App()
    try:
        build_stage(app, config_from_context(app.node.get_all_context()))
    except InfrastructureError as error:
        print(f"app.py: {error}", file=sys.stderr)  # noqa: T201  # What a command line says on its way out.
        return 1
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
