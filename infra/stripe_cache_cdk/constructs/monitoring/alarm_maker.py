"""How one alarm is evaluated: at the first sign, when something lasts, or when something stays away.

Which alarms there are is in `alarms`, their limits are in `thresholds`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions

if TYPE_CHECKING:
    from aws_cdk import aws_sns as sns
    from constructs import Construct

ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
QUIET = cloudwatch.TreatMissingData.NOT_BREACHING
RINGS = cloudwatch.TreatMissingData.BREACHING
OF, NEEDED = 5, 3
"""What lasts: three of five periods."""


class AlarmMaker:
    """Makes alarms, all to one topic. Each says in its description what is wrong."""

    def __init__(self, topic: sns.ITopic) -> None:
        self._action = actions.SnsAction(topic)
        self.made: list[cloudwatch.Alarm] = []

    def first(self, scope: Construct, name: str, metric: cloudwatch.IMetric, meaning: str, *, above: float = 0) -> None:
        """Ring in the first period above the limit: what breaks a promise does so at one event a day, too."""
        self._make(scope, name, metric, above, meaning, of=1, needed=1)

    def lasting(self, scope: Construct, name: str, metric: cloudwatch.IMetric, meaning: str, *, above: float) -> None:
        """Ring after three of five periods above the limit: what is slow or busy, and often is so for a moment."""
        self._make(scope, name, metric, above, meaning)

    def staying(
        self, scope: Construct, name: str, metric: cloudwatch.IMetric, meaning: str, *, above: float, periods: int
    ) -> None:
        """Ring when so many periods, of these and one more, were above the limit.

        One more, because what runs on a schedule now and then runs twice within a period and not at all in the next.
        """
        self._make(scope, name, metric, above, meaning, of=periods + 1, needed=periods)

    def lasting_below(
        self, scope: Construct, name: str, metric: cloudwatch.IMetric, meaning: str, *, below: float
    ) -> None:
        """Ring after three of five periods below the limit."""
        self._make(scope, name, metric, below, meaning, comparison=BELOW)

    def absent(self, scope: Construct, name: str, metric: cloudwatch.IMetric, meaning: str, *, periods: int) -> None:
        """Ring when nothing was counted for so many periods: here, no data is the bad news."""
        self._make(scope, name, metric, 1, meaning, comparison=BELOW, of=periods, needed=periods, missing=RINGS)

    def _make(
        self,
        scope: Construct,
        name: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        meaning: str,
        *,
        comparison: cloudwatch.ComparisonOperator = ABOVE,
        of: int = OF,
        needed: int = NEEDED,
        missing: cloudwatch.TreatMissingData = QUIET,
    ) -> None:
        alarm = cloudwatch.Alarm(
            scope,
            name,
            metric=metric,
            threshold=threshold,
            alarm_description=f"stripe-cache: {meaning}.",
            comparison_operator=comparison,
            evaluation_periods=of,
            datapoints_to_alarm=needed,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(self._action)
        alarm.add_ok_action(self._action)
        self.made.append(alarm)
