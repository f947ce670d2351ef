"""Two caches of one stage: CloudWatch adds up what they tell, and nobody could say which of them an alarm is about.

The runtime tells its metrics under a service, which is always the same, and the stage. A sweep that one of them did not
make is then hidden by the sweeps of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk

if TYPE_CHECKING:
    from constructs import Construct

TOLD_BY = "stripe-cache:metrics"  # The type of the note on the app that says which cache tells metrics, and where.


def warn_of_shared_metrics(cache: Construct, stage: str) -> None:
    """Annotate a cache of this stage when the app has another one, unless they go to different accounts or regions.

    Not refused: sums over both may be what somebody wants, and acknowledging the warning says so.
    """
    stack, app = cdk.Stack.of(cache), cache.node.root
    place = {"stage": stage, "account": stack.account, "region": stack.region}
    for note in app.node.metadata:
        if note.type == TOLD_BY and all(_may_be_same(value, note.data[name]) for name, value in place.items()):
            cdk.Annotations.of(cache).add_warning_v2(
                "stripe-cache:sharedMetrics",
                f"its metrics are added to those of {note.data['path']}, because both say stage={stage!r}: dashboards "
                f"show their sum, and alarms may ring for the other one, or not at all. Give one another stage, "
                f"such as '{stage}-2'",
            )
            break
    app.node.add_metadata(TOLD_BY, {**place, "path": cache.node.path})


def _may_be_same(one: str, other: str) -> bool:
    # An account or a region that was not given is the deployer's, which may be any.
    return one == other or cdk.Token.is_unresolved(one) or cdk.Token.is_unresolved(other)
