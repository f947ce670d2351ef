"""Start a function of the cache at a fixed interval: for reconciling, warming and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from stripe_cache_cdk.checks import check_json
from stripe_cache_cdk.constructs.props import checked
from stripe_cache_cdk.constructs.stack_order import check_one_stack
from stripe_cache_cdk.errors import ConstructError, naming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stripe_cache_cdk.constructs.runtime_function import RuntimeFunction

SHORTEST_SECONDS = 60
RETRIES = 2


class PeriodicInvocation(Construct):
    """Calls the function every `every` (one minute or longer), with `payload` as its event.

    The call is asynchronous: EventBridge hands it to Lambda, and Lambda tries it. Either tries twice more, for as long
    as `every` and at most six hours, since the next call is due anyway; then it is kept in `dead_letters`, one queue
    per function, which SQS's own key encrypts. Calls may overlap when one takes longer than `every`: reserve a
    concurrency of 1 where that would hurt. It must be of the function's own stack: each names the other.
    """

    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        function: RuntimeFunction,
        every: cdk.Duration,
        payload: Mapping[str, object] | None = None,
        enabled: bool = True,
    ) -> None:
        super().__init__(scope, construct_id)
        # Lambda's permission names the rule, and the rule names the function.
        check_one_stack(self, "", function=function)
        if every.is_unresolved():
            raise ConstructError(self, "every is known at deployment only", "pass a number of minutes")
        seconds = every.to_seconds(integral=False)
        if seconds < SHORTEST_SECONDS or seconds % SHORTEST_SECONDS:
            raise ConstructError(self, f"every={seconds:g} s", "EventBridge counts whole minutes, pass 1 or more")
        with naming(self):
            # As the target will write it: what is no JSON would be refused by CDK without a word of the prop.
            check_json("payload", payload or {}, "names to texts, numbers and lists")
        self.every = every
        oldest = cdk.Duration.seconds(min(seconds, cdk.Duration.hours(6).to_seconds()))
        self.dead_letters = function.keep_failed_calls(retries=RETRIES, oldest=oldest)
        self.rule = events.Rule(
            self,
            "Rule",
            schedule=events.Schedule.rate(every),
            enabled=enabled,
            targets=[
                targets.LambdaFunction(
                    function.invoked,
                    event=events.RuleTargetInput.from_object(dict(payload or {})),
                    dead_letter_queue=self.dead_letters,
                    retry_attempts=RETRIES,
                    max_event_age=oldest,
                )
            ],
        )
