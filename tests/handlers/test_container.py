from __future__ import annotations

import pytest
from handlers.conftest import aws_client, forget, metrics_of

from stripe_cache import SettingError
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.errors import InvalidationError
from stripe_cache.core.events import MOST_RECORDS
from stripe_cache.handlers import invalidations
from stripe_cache.handlers.container import container
from stripe_cache.handlers.secrets import KEPT_SECONDS, SecretError, Secrets
from stripe_cache.meter import EmfMeter


class Now(SystemClock):
    """A clock that stands until it is told otherwise."""

    moment = 0.0

    def monotonic(self) -> float:  # type: ignore[override]  # the base's is a plain function
        return self.moment


def test_a_wrong_environment_is_told_by_name_and_tried_again(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("STRIPE_CACHE_MEMORY_MAX_LAG", "soon")
    forget()
    with pytest.raises(SettingError, match="STRIPE_CACHE_MEMORY_MAX_LAG is 'soon'"):
        container()
    environment.setenv("STRIPE_CACHE_MEMORY_MAX_LAG", "0.5")
    assert container().settings.memory_max_lag == 0.5


@pytest.mark.usefixtures("environment")
def test_a_client_keeps_its_connections_between_invocations() -> None:
    assert container().client() is container().client()


@pytest.mark.usefixtures("environment")
def test_secrets_are_read_once_in_five_minutes_and_survive_an_outage() -> None:
    manager = aws_client("secretsmanager")
    arn = manager.create_secret(Name="kept", SecretString='{"a": "sk_live_1", "b": "sk_live_2"}')["ARN"]
    clock = Now()
    secrets = Secrets(clock)
    assert secrets.values(arn, "X") == ("sk_live_1", "sk_live_2")
    manager.put_secret_value(SecretId=arn, SecretString="sk_live_3")
    assert secrets.values(arn, "X") == ("sk_live_1", "sk_live_2")
    clock.moment = KEPT_SECONDS
    assert secrets.values(arn, "X") == ("sk_live_3", "sk_live_1", "sk_live_2")
    manager.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    clock.moment *= 3
    assert secrets.values(arn, "X") == ("sk_live_3", "sk_live_1", "sk_live_2")


@pytest.mark.usefixtures("environment")
def test_a_secret_that_is_not_there_is_named_with_its_setting() -> None:
    secrets = Secrets(SystemClock())
    with pytest.raises(SecretError, match="STRIPE_CACHE_X names the secret 'nothing-here'"):
        secrets.values("nothing-here", "STRIPE_CACHE_X")
    with pytest.raises(SecretError, match="STRIPE_CACHE_X is not set"):
        secrets.values("", "STRIPE_CACHE_X")


def test_the_meter_adds_up_and_writes_each_metric_under_few_dimensions(capsys: pytest.CaptureFixture[str]) -> None:
    meter = EmfMeter("dev")
    for _ in range(3):
        meter.count("Hit", tier="redis", object_type="customer")
    for milliseconds in range(250):
        meter.observe("ReadLatency", milliseconds)
    meter.flush()
    printed = capsys.readouterr().out
    assert metrics_of(printed)["Hit"] == 3
    assert len(printed.splitlines()) == 3, (
        "service and stage; with tier; with object type: never tier and type together"
    )
    meter.flush()
    assert capsys.readouterr().out == ""


def test_without_an_outbox_or_time_for_all_of_it_stripe_delivers_again(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.delenv("STRIPE_CACHE_TABLE")
    forget()
    records = [f"cus_{number}" for number in range(MOST_RECORDS * 2)]
    cause = invalidations.cause_of({})
    parts = container()
    assert parts.apply(records, account=None, livemode=None, cause=cause) == "done"
    first = iter([True])
    with pytest.raises(InvalidationError, match="none left for 500"):
        parts.apply(records, account=None, livemode=None, cause=cause, may_go_on=lambda: next(first, False))
