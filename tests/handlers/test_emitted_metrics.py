"""What handlers print against what dashboards and alarms read: neither side's own list of it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboards import metrics_emitted, metrics_read
from handlers.emissions import Life
from synthesis import COMBINATIONS, synthesized, template_of

from stripe_cache.core import metrics as runtime
from stripe_cache.meter import NAMESPACE
from stripe_cache_cdk.config import Topology
from stripe_cache_cdk.constructs.monitoring import metrics as monitoring

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from dashboards import Read

    from local.dynamodb import DynamoDB
    from local.fake_stripe.client import FakeStripe
    from local.valkey import Valkey


def of_stage(emitted: set[Read], stage: str) -> set[Read]:
    """Return what would have been emitted had the sandboxes been of that stage."""
    return {
        (namespace, name, (dimensions - {("stage", "test")}) | {("stage", stage)})
        for namespace, name, dimensions in emitted
        if ("stage", "test") in dimensions
    }


def test_dashboards_and_alarms_read_exactly_what_the_handlers_emit(
    servers: tuple[Valkey, DynamoDB, FakeStripe],
    fake: FakeStripe,
    environment: pytest.MonkeyPatch,
    delivery: Callable[..., dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    Life(fake, servers[0], servers[1], environment, delivery).run()
    emitted = metrics_emitted(capsys.readouterr().out)
    named = {value for name, value in vars(runtime).items() if name.isupper()}
    assert {name for _, name, _ in emitted} == named, "every metric of the runtime happened, and no other"
    for stage, topology in COMBINATIONS:
        read = metrics_read(template_of(stage, topology, "monitoring"), NAMESPACE)
        assert sorted(read - of_stage(emitted, stage), key=str) == []
        shown = {name for _, name, _ in read}
        assert shown | set(monitoring.NOT_SHOWN) == named
        assert not shown & set(monitoring.NOT_SHOWN)
        tiers = {value for _, _, dimensions in read for name, value in dimensions if name == "tier"}
        assert ("redis" in tiers) == (topology is not Topology.DYNAMODB_ONLY)
        types = {value for _, _, dimensions in read for name, value in dimensions if name == "object_type"}
        assert types == set(synthesized(stage, topology)[0].object_types)
    assert all(len(reason) > 20 for reason in monitoring.NOT_SHOWN.values())
