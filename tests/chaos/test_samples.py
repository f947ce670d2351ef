"""The numbers that the table is made of."""

from __future__ import annotations

import pytest

from local.chaos.options import OptionError, from_environ
from local.chaos.samples import NONE, Baseline, Sample, between, recovery, unfrozen


def _sample(
    began: float, ms: float = 1.0, *, tier: str = "redis", error: str = "", who: tuple[int, int] = (1, 0)
) -> Sample:
    return Sample(*who, began, ms, "", tier, error)


def _every(seconds: float, until: float, since: float = 0.0, **options: object) -> list[Sample]:
    count = int((until - since) / seconds)
    return [_sample(since + number * seconds, **options) for number in range(count)]  # type: ignore[arg-type]


def test_added_latency_is_against_the_same_read_of_the_same_process() -> None:
    warm = [
        _sample(0, 1.0),
        _sample(1, 3.0),
        _sample(2, 2.0),
        _sample(2, 50.0, who=(2, 0)),
        _sample(2, 9.0, who=(1, 1)),
    ]
    baseline = Baseline(warm, 3.0)
    added = baseline.added([_sample(5, 12.0), _sample(5, 51.0, who=(2, 0)), _sample(5, 9.5, who=(1, 1))])
    assert added.worst == 10.0
    assert added.median == 1.0
    assert baseline.added([]) == NONE


def test_recovery_begins_with_the_first_second_that_is_as_before() -> None:
    baseline = Baseline(_every(0.02, 3.0), 3.0)
    slow = _every(0.02, 6.5, since=5.0, ms=40.0)
    good = _every(0.02, 9.0, since=6.5)
    assert recovery([*slow, *good], baseline, 5.0, 9.0) == 1.5
    assert recovery(_every(0.02, 9.0, since=5.0), baseline, 5.0, 9.0) == 0.0


@pytest.mark.parametrize(
    "what", [{"ms": 40.0}, {"tier": ""}, {"error": "APIError"}], ids=["slow", "misses", "failures"]
)
def test_what_is_not_as_before_has_not_recovered(what: dict[str, object]) -> None:
    baseline = Baseline(_every(0.02, 3.0), 3.0)
    assert recovery(_every(0.02, 9.0, since=5.0, **what), baseline, 5.0, 9.0) is None


def test_less_load_than_before_has_not_recovered() -> None:
    baseline = Baseline(_every(0.02, 3.0), 3.0)
    assert recovery(_every(0.04, 9.0, since=5.0), baseline, 5.0, 9.0) is None


def test_reads_of_a_stopped_process_are_left_out_while_it_was_stopped() -> None:
    found = [_sample(1.0), _sample(2.0, 3000.0), _sample(6.0), _sample(3.0, who=(2, 0))]
    assert unfrozen(found, {1: (2.5, 5.0)}) == [found[0], found[2], found[3]]
    assert between(found, 2.0, 6.0) == [found[1], found[3]]


def test_options_are_read_and_bad_ones_named() -> None:
    options = from_environ({"FAULT": "redis-k, stripe", "SECONDS": "2", "SEED": "9"})
    assert [fault.name for fault in options.faults] == [
        "redis-kill",
        "stripe-5xx",
        "stripe-429",
        "stripe-hang",
        "stripe-drop",
    ]
    assert (options.seconds, options.seed, options.flooded) == (2.0, 9, False)
    assert from_environ({}).flooded
    for environ, message in (
        ({"FAULT": "redis-kil1"}, "did you mean redis-kill"),
        ({"SECONDS": "0"}, "SECONDS is '0'"),
        ({"SECONDS": "x"}, "SECONDS is 'x'"),
        ({"SEED": "-1"}, "SEED is '-1'"),
    ):
        with pytest.raises(OptionError, match=message):
            from_environ(environ)
