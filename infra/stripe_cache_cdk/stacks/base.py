"""What every stack of a stage has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk

if TYPE_CHECKING:
    from constructs import Construct

    from stripe_cache_cdk.config import StageConfig


class StageStack(cdk.Stack):
    """A stack named after its stage, tagged, and protected from deletion where the stage says so."""

    def __init__(self, scope: Construct, part: str, *, config: StageConfig, description: str) -> None:
        super().__init__(
            scope,
            f"stripe-cache-{config.stage}-{part}",
            description=f"{description} ({config.stage}, {config.topology})",
            env=cdk.Environment(account=config.account or None, region=config.region or None),
            termination_protection=config.termination_protection,
        )
        self._azs = config.azs
        cdk.Tags.of(self).add("application", "stripe-cache")
        cdk.Tags.of(self).add("stage", config.stage)

    @property
    def availability_zones(self) -> list[str]:
        """The stage's number of zones, chosen at deployment: CDK's own answer would ask the account at synthesis."""
        return [cdk.Fn.select(zone, cdk.Fn.get_azs()) for zone in range(self._azs)]
