"""What every stack of a stage has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from aws_cdk import region_info

if TYPE_CHECKING:
    from constructs import Construct

    from stripe_cache_cdk.config import StageConfig


RETENTION = {
    1: logs.RetentionDays.ONE_DAY,
    3: logs.RetentionDays.THREE_DAYS,
    5: logs.RetentionDays.FIVE_DAYS,
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    60: logs.RetentionDays.TWO_MONTHS,
    90: logs.RetentionDays.THREE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
    731: logs.RetentionDays.TWO_YEARS,
    1827: logs.RetentionDays.FIVE_YEARS,
    3653: logs.RetentionDays.TEN_YEARS,
}
"""CDK has a member for each number of days that StageConfig takes."""


class StageStack(cdk.Stack):
    """A stack named after its stage, tagged, and protected from deletion where the stage says so."""

    def __init__(self, scope: Construct, part: str, *, config: StageConfig, description: str) -> None:
        super().__init__(
            scope,
            f"stripe-cache-{config.stage}-{part}",
            description=f"{description} ({config.stage}, {config.topology})",
            env=cdk.Environment(account=config.account or None, region=config.region or None),
            termination_protection=config.termination_protection,
            synthesizer=cdk.DefaultStackSynthesizer(qualifier=config.qualifier) if config.qualifier else None,
        )
        self._azs = config.azs
        self.log_retention = RETENTION[config.log_retention_days]
        """How long every log of this stack is kept."""
        cdk.Tags.of(self).add("application", "stripe-cache")
        cdk.Tags.of(self).add("stage", config.stage)
        if config.region and config.region not in {known.name for known in region_info.RegionInfo.regions}:
            # No error: regions come faster than versions of the library.
            cdk.Annotations.of(self).add_warning_v2(
                "stripe-cache:unknownRegion",
                f"region={config.region!r} is none that this version of aws-cdk-lib knows: unless it is new, mend it",
            )

    @property
    def availability_zones(self) -> list[str]:
        """The stage's number of zones, chosen at deployment: CDK's own answer would ask the account at synthesis."""
        return [cdk.Fn.select(zone, cdk.Fn.get_azs()) for zone in range(self._azs)]
